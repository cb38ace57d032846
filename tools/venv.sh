# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What ./look and ./test share: find a Python, make .venv, put the project into it, install Debian packages.
# Read with `.` from a script that has gone to the root of the repository first. Progress goes to stderr.

say() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# Print the Python to use: the first that is 3.11 or later and really runs (some are wrappers that do not).
find_python() {
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            command -v "$candidate"
            return 0
        fi
    done
    say "Python 3.11 or later is needed, and none was found."
    say "Debian 12, Ubuntu 24.04 or later:  apt-get install python3"
    say "Ubuntu 22.04:                      apt-get install python3.11"
    return 1
}

# Run a command as root: as we are, or through sudo if that asks for no password.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo -n "$@"
    fi
}

# Install Debian packages; fail, with nothing changed, where that cannot be done without asking.
# The package lists are fetched only if the packages cannot be had without.
apt_install() {
    command -v apt-get >/dev/null 2>&1 && as_root true >/dev/null 2>&1 || return 1
    say "installing $* with apt-get"
    apt_log=$(mktemp) || return 1
    apt_get install "$@" >"$apt_log" 2>&1 ||
        { apt_get update && apt_get install "$@"; } >"$apt_log" 2>&1 ||
        { tail -n 5 "$apt_log" >&2; rm -f "$apt_log"; return 1; }
    rm -f "$apt_log"
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=120 --no-install-recommends "$@" </dev/null
}

# Make an empty .venv with the Python $1; what was there before goes. Debian and Ubuntu keep what this needs of
# Python's own library (ensurepip) in a package of its own.
make_venv() {
    say "making .venv with $("$1" --version)"
    if ! "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        apt_install "$package" || apt_install python3-venv || {
            say "this Python cannot make virtual environments yet. On Debian or Ubuntu, do this as root, then try again:"
            say "    apt-get install $package"
            return 1
        }
    fi
    [ -d .venv ] || rm -f .venv
    "$1" -m venv --clear .venv >&2 || {
        say "could not make .venv; what Python said stands above."
        return 1
    }
}

# Is there a .venv that works: its Python runs, is new enough, belongs to this folder and has a pip?
venv_works() {
    .venv/bin/python - .venv >/dev/null 2>&1 <<'PYTHON' && .venv/bin/python -m pip --version >/dev/null 2>&1
import os, sys
sys.exit(sys.version_info < (3, 11) or not os.path.samefile(sys.prefix, sys.argv[1]))
PYTHON
}

# Bring .venv up to date: ensure_venv run|test|dev, each of which holds the one before. The install is an editable
# one, so changed sources need nothing; it is done again only if pyproject.toml, the place of the repository or the
# Python changed. A stamp for each kind says what was installed.
ensure_venv() {
    key="$(cksum <pyproject.toml) $(.venv/bin/python --version 2>&1) $PWD" || key=none
    for have in dev test run; do
        if [ "$(cat ".venv/installed-$have" 2>/dev/null)" = "$key" ]; then
            return 0
        fi
        [ "$have" != "$1" ] || break
    done
    if ! venv_works; then
        python=$(find_python) && make_venv "$python" || return 1
    fi
    case $1 in
        run) what=. ;;
        *) what=".[$1]" ;;
    esac
    say "installing unpinned and what it needs into .venv ($1)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --editable "$what" \
        </dev/null >&2 || {
        say "pip could not install; what it said stands above. Once that is mended, run this again."
        return 1
    }
    printf '%s\n' "$(cksum <pyproject.toml) $(.venv/bin/python --version 2>&1) $PWD" >".venv/installed-$1"
}
