#!/usr/bin/env bash
# Sets up everything that `make run` (argument "run") or `make test` (argument "test") needs, inside this folder and one
# cache: .venv from deploy/locks/all.txt, Spark's jars from deploy/jars, for "test" also .venv-ministack. Nothing else is
# touched. Does nothing when nothing changed; may be killed at any point and started again; one run at a time.
#
#   CREATORLAKE_PYTHON   interpreter to use (default: the first of python3, python3.11 ... that is 3.11 or newer)
#   CREATORLAKE_CACHE    folder for the jars (default: $XDG_CACHE_HOME/creatorlake or ~/.cache/creatorlake)
# Package indexes, mirrors and certificates are those that pip, uv and Maven are configured for.
set -euo pipefail

readonly MODE=${1:-run}
case $MODE in run | test) ;; *)
    echo "usage: deploy/bootstrap.sh [run|test]" >&2
    exit 2
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly MIN_PYTHON_MINOR=11
readonly MIN_JAVA=17
readonly NEEDED_DISK_GB=12 # the environment takes 7 GB, uv's cache of the same wheels is shared by hard links or doubles it
readonly CACHE=${CREATORLAKE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/creatorlake}
readonly JARS_POINTER=.venv/creatorlake-jars
readonly FENCE_SOURCE=deploy/jars/ConditionalLogStore.scala
readonly CLASSES=.venv/creatorlake-classes.jsa

say() { printf 'creatorlake: %s\n' "$*"; }
fail() {
    printf 'creatorlake: %s\n' "$*" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

if has sha256sum; then
    digest() { sha256sum "$@"; }
else
    digest() { shasum -a 256 "$@"; }
fi
hash_of() { # one short hash over the contents of files
    local sum
    sum=$(cat "$@" | digest)
    printf '%.16s' "$sum"
}

# --- nothing to do? -------------------------------------------------------------------------------------------------

jars_complete() {
    local jars
    jars=("$1"/*.jar)
    [ "${#jars[@]}" -eq "$JARS_COUNT" ]
}
is_current() { # $1 environment, $2 wanted stamp
    [ -x "$1/bin/python" ] && [ -f "$1/creatorlake-stamp" ] && [ "$(<"$1/creatorlake-stamp")" = "$2" ] && [ ! -e "$1/creatorlake-unfinished" ]
}

JARS_HASH=$(hash_of deploy/jars/pom.xml deploy/jars/SHA256SUMS "$FENCE_SOURCE")
JARS_COUNT=$(($(grep -c . deploy/jars/SHA256SUMS) + 1)) # and the fence
MAIN_STAMP="$(hash_of deploy/locks/all.txt deploy/locks/uv.txt deploy/load.py pyproject.toml) $PWD"
MINISTACK_STAMP="$(hash_of deploy/locks/ministack.txt deploy/locks/uv.txt) $PWD"
readonly JARS_HASH JARS_COUNT MAIN_STAMP MINISTACK_STAMP
readonly JARS_FOLDER=$CACHE/jars/$JARS_HASH

classes_stamp() { printf '%s %s' "$MAIN_STAMP $JARS_HASH $(hash_of deploy/archive.py)" "$("$(java_command)" -version 2>&1 | digest)"; }
is_archived() { [ -f "$CLASSES.stamp" ] && [ "$(<"$CLASSES.stamp")" = "$(classes_stamp)" ]; }

is_all_current() {
    is_current .venv "$MAIN_STAMP" && [ -f "$JARS_POINTER" ] && [ "$(<"$JARS_POINTER")" = "$JARS_FOLDER" ] &&
        jars_complete "$JARS_FOLDER" && is_archived && { [ "$MODE" = run ] || is_current .venv-ministack "$MINISTACK_STAMP"; }
}
readonly JAVA_ADVICE='install openjdk-17-jre-headless (Debian, Ubuntu), or openjdk@17 (macOS, Homebrew) with export JAVA_HOME=$(brew --prefix openjdk@17)'
java_command() { if [ -n "${JAVA_HOME:-}" ]; then printf '%s/bin/java' "$JAVA_HOME"; else printf java; fi; }

check_java() {
    local version # the java of a fresh macOS exists and only says that there is none
    version=$("$(java_command)" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1) || true
    [ -n "$version" ] && [ "$version" -ge "$MIN_JAVA" ] ||
        fail "Java $MIN_JAVA or newer is needed, found ${version:-none}${JAVA_HOME:+ at JAVA_HOME=$JAVA_HOME}: $JAVA_ADVICE."
}

has "$(java_command)" ||
    fail "Java $MIN_JAVA or newer is missing${JAVA_HOME:+ at JAVA_HOME=$JAVA_HOME}: $JAVA_ADVICE."
check_java
if is_all_current; then exit 0; fi

# --- what the machine must have -------------------------------------------------------------------------------------

find_python() {
    local name
    for name in "${CREATORLAKE_PYTHON:-python3}" python3.11 python3.12 python3.13 python3.14; do
        if has "$name" && "$name" -c "import sys; sys.exit(sys.version_info < (3, $MIN_PYTHON_MINOR))" 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    fail "Python 3.$MIN_PYTHON_MINOR or newer is missing: install python3 and python3-venv (Debian, Ubuntu) or python@3.12 (macOS, Homebrew)."
}
check_venv_module() {
    "$PYTHON" -c "import ensurepip, venv" 2>/dev/null ||
        fail "Python's venv module is missing: install python3-venv (Debian, Ubuntu), or a Python from Homebrew (macOS)."
}
check_disk() {
    local free_kb
    free_kb=$(df -Pk . | awk 'NR == 2 { print $4 }')
    [ "$free_kb" -ge $((NEEDED_DISK_GB * 1024 * 1024)) ] ||
        fail "Only $((free_kb / 1024 / 1024)) GB are free here and the Python packages need $NEEDED_DISK_GB GB: free some space and start again."
}

PYTHON=$(find_python)
readonly PYTHON

# --- one run at a time: the lock lives as long as this process and its children ----------------------------------------

mkdir -p .creatorlake "$CACHE/jars"
exec 9>.creatorlake/bootstrap.lock
"$PYTHON" -c "
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    print('creatorlake: waiting for another set-up in this folder ...', flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
"

# --- Python environments --------------------------------------------------------------------------------------------

use_pip_settings() { # uv reads only its own settings; pip's are what people have
    local index extra
    index=$("$1" -m pip config get global.index-url 2>/dev/null || true)
    extra=$("$1" -m pip config get global.extra-index-url 2>/dev/null || true)
    index=${PIP_INDEX_URL:-$index}
    extra=${PIP_EXTRA_INDEX_URL:-$extra}
    if [ -n "$index" ] && [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then export UV_DEFAULT_INDEX=$index; fi
    if [ -n "$extra" ] && [ -z "${UV_INDEX:-}${UV_EXTRA_INDEX_URL:-}" ]; then export UV_INDEX=$extra; fi
    if [ -n "${PIP_CERT:-}" ] && [ -z "${SSL_CERT_FILE:-}" ]; then export SSL_CERT_FILE=$PIP_CERT; fi
    if [ -n "${PIP_DEFAULT_TIMEOUT:-}" ] && [ -z "${UV_HTTP_TIMEOUT:-}" ]; then export UV_HTTP_TIMEOUT=$PIP_DEFAULT_TIMEOUT; fi
}
is_moved() { [ -f "$1/creatorlake-stamp" ] && [[ $(<"$1/creatorlake-stamp") != *" $PWD" ]]; }
load_project() {
    env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -W ignore deploy/load.py ||
        fail "The installed packages do not load: see the lines above; delete .venv and start again."
}
install_environment() { # $1 environment, $2 lock, $3 stamp; uv comes from its own lock
    local venv=$1 lock=$2 stamp=$3
    if is_current "$venv" "$stamp"; then return; fi
    # Start again when a set-up was cut off while it wrote files, or the folder moved (scripts hold its path).
    if [ -e "$venv/creatorlake-unfinished" ] || is_moved "$venv" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        check_venv_module
        "$PYTHON" -m venv --clear "$venv"
    fi
    touch "$venv/creatorlake-unfinished"
    rm -f "$venv/creatorlake-stamp"
    use_pip_settings "$venv/bin/python"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/locks/uv.txt ||
        fail "The installer could not be fetched: is the package index reachable?"
    "$venv/bin/uv" pip sync --quiet --python "$venv/bin/python" --require-hashes "$lock" ||
        fail "The Python packages could not be installed: see the lines above, then start again."
    rm -f "$venv/creatorlake-unfinished"
    if [ "$venv" = .venv ]; then
        "$venv/bin/uv" pip install --quiet --offline --python "$venv/bin/python" --no-deps --no-build-isolation --editable . ||
            fail "The project itself could not be installed: see the lines above, then start again."
        load_project
    fi
    printf '%s\n' "$stamp" >"$venv/creatorlake-stamp"
}

if ! is_current .venv "$MAIN_STAMP"; then
    if [ -f .venv/creatorlake-stamp ]; then
        say "bringing the Python packages up to date ..."
    else
        check_disk
        say "installing Python packages (one to two minutes, 7 GB) ..."
    fi
    install_environment .venv deploy/locks/all.txt "$MAIN_STAMP"
fi
if [ "$MODE" = test ] && ! is_current .venv-ministack "$MINISTACK_STAMP"; then
    say "installing the S3 emulator for tests ..."
    install_environment .venv-ministack deploy/locks/ministack.txt "$MINISTACK_STAMP"
fi

# --- jars: copied beside, verified, then moved into place ----------------------------------------------------------------

fetch_jars() { # $1 empty folder
    if has mvn; then
        mvn -q -B -Dstyle.color=never -f deploy/jars/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
            "-DoutputDirectory=$1" 2>&1 | sed $'s/\033\\[[0-9;]*m//g' >&2 || fail "Spark's jars could not be fetched: see the lines above; is Maven's repository reachable?"
        return
    fi
    # PySpark ships Ivy, which reads the same pom and ends at the same jars; slower, and blind to Maven's mirror settings.
    local ivy log=$1/ivy.log
    ivy=$(echo .venv/lib/python3*/site-packages/pyspark/jars/ivy-*.jar)
    "$(java_command)" -jar "$ivy" -cache "$1/ivy-cache" -ivy deploy/jars/pom.xml -confs runtime -types jar bundle \
        -retrieve "$1/[artifact]-[revision](-[classifier]).[ext]" >"$log" 2>&1 || {
        tail -n 20 "$log" >&2
        fail "Spark's jars could not be fetched: is Maven's repository reachable? Behind a mirror, install maven."
    }
    rm -rf "$1/ivy-cache" "$log"
}
compile_fence() { # $1 folder of jars; the compiler is PySpark's own, so a Java without one will do
    local spark
    spark=$(echo .venv/lib/python3*/site-packages/pyspark/jars)
    "$(java_command)" -cp "$spark/*" scala.tools.nsc.Main -release "$MIN_JAVA" -d "$1/creatorlake-fence.jar" \
        -classpath "$spark/*:$1/*" "$FENCE_SOURCE" || fail "The commit fence could not be compiled: see the lines above."
}
verify_jars() { # $1 folder
    (cd "$1" && digest -c "$OLDPWD/deploy/jars/SHA256SUMS" >/dev/null) ||
        fail "Spark's jars are not those of deploy/jars/SHA256SUMS: delete them from Maven's local repository and start again."
}
if ! jars_complete "$JARS_FOLDER"; then
    say "fetching Spark's Delta and S3 jars (26 MB) ..."
    find "$CACHE/jars" -maxdepth 1 -name '.draft.*' -mmin +60 -exec rm -rf {} + # left by set-ups that were killed
    DRAFT=$(mktemp -d "$CACHE/jars/.draft.XXXXXX")
    trap 'rm -rf "$DRAFT"' EXIT
    fetch_jars "$DRAFT"
    verify_jars "$DRAFT"
    compile_fence "$DRAFT"
    chmod 755 "$DRAFT"
    if ! jars_complete "$JARS_FOLDER"; then # another folder's set-up may have been faster
        rm -rf "$JARS_FOLDER"
        mv "$DRAFT" "$JARS_FOLDER"
    fi
fi
if [ ! -f "$JARS_POINTER" ] || [ "$(<"$JARS_POINTER")" != "$JARS_FOLDER" ]; then
    printf '%s\n' "$JARS_FOLDER" >"$JARS_POINTER.draft"
    mv "$JARS_POINTER.draft" "$JARS_POINTER"
fi

# --- Java classes: an archive that every later JVM maps instead of loading them one by one; a run does without it, too -----

if ! is_archived; then
    say "archiving Spark's classes ..."
    rm -f "$CLASSES"
    if .venv/bin/python deploy/archive.py "$PWD/$CLASSES.draft" >.creatorlake/archive.log 2>&1 && [ -s "$CLASSES.draft" ]; then
        mv -f "$CLASSES.draft" "$CLASSES"
    else
        say "without an archive of classes, runs start some seconds later; .creatorlake/archive.log tells why there is none."
    fi
    classes_stamp >"$CLASSES.stamp"
fi
say "set-up complete"
