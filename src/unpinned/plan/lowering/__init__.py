# SPDX-License-Identifier: Apache-2.0
"""Lower validated methods to programs of the ir: types, expressions, calls, statements, in that order of files."""
