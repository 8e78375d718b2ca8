#!/usr/bin/env bash
# Prints the Python that make setup builds .venv with: the version of .python-version if there is
# one, else the newest that is new enough. Given candidates, looks at those only.
set -euo pipefail
cd "$(dirname "$0")/.."

minimum_minor=12
wanted="$(cat .python-version)"

# A pyenv shim may exist for a version that is not active here: only running it tells.
version_and_path_of() {
    "$1" -c 'import sys; print("%d.%d.%d %s" % (sys.version_info[:3] + (sys.executable,)))' 2>/dev/null || true
}

if [ "$#" -gt 0 ]; then
    candidates=("$@")
else
    candidates=("python$wanted" python3.14 python3.13 python3.12 python3)
    for version in $(ls "$HOME/.pyenv/versions" 2>/dev/null | sort --version-sort --reverse); do
        candidates+=("$HOME/.pyenv/versions/$version/bin/python3")
    done
fi

fallback=""
found=()
for candidate in "${candidates[@]}"; do
    read -r version path <<<"$(version_and_path_of "$candidate")"
    [ -n "$version" ] || continue
    found+=("$version")
    IFS=. read -r major minor _ <<<"$version"
    [ "$major" -eq 3 ] && [ "$minor" -ge "$minimum_minor" ] || continue
    case "$version" in
        "$wanted".*) echo "$path"; exit 0 ;;
    esac
    [ -n "$fallback" ] || fallback="$path"
done

if [ -n "$fallback" ]; then
    echo "$fallback"
    exit 0
fi
{
    if [ "${#found[@]}" -eq 0 ]; then
        echo "No Python was found."
    else
        echo "Python 3.$minimum_minor or newer is needed; found only: $(printf '%s\n' "${found[@]}" | sort --version-sort --unique | paste -sd ' ')."
    fi
    echo "Install Python $wanted (for example: pyenv install $wanted) and run make setup again."
} >&2
exit 1
