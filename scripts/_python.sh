# Sourced by the scripts: sets `python` to a Python that can set rota up, or explains and exits.
# A command may be there and not run (the shims of pyenv), so each one is tried.

python=
for candidate in "${ROTA_PYTHON:-}" python3 python3.13 python3.12 python3.11 python \
    /usr/bin/python3 /usr/local/bin/python3; do
    [ -n "$candidate" ] || continue
    "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
        >/dev/null 2>&1 || continue
    # Debian's python3 is without these two until python3-venv is installed.
    if "$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
    [ -n "$python" ] || python=$candidate
done

if [ -z "$python" ]; then
    echo "rota needs Python 3.11, 3.12 or 3.13, and none was found. Install one (Debian, Ubuntu:" \
        "apt install python3 python3-venv), or name one with ROTA_PYTHON=/path/to/python3." >&2
    exit 1
fi
