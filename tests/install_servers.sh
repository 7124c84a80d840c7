# Install the servers of Debian that `make test-services` needs, without starting any of them: the
# tests start their own, on the loopback interface.
set -eu
missing=""
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="postgresql"
PATH="$PATH:/usr/sbin" command -v sshd >/dev/null || missing="$missing openssh-server"
test -n "$missing" || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "install these first: $missing" >&2
    exit 2
fi
apt-get update -qq
# Package scripts start no service in run level 1.
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing
