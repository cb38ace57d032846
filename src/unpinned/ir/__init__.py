# SPDX-License-Identifier: Apache-2.0
"""Hold programs as frozen dataclasses, and the passes over them."""
