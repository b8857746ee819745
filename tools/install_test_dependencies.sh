#!/bin/sh
# Installs what the tests need and no Python package brings: a RabbitMQ server.
# Does nothing where it is already there, or where CRM_TEST_AMQP_URL names a broker to use.
set -eu

packages="rabbitmq-server"

if [ -n "${CRM_TEST_AMQP_URL:-}" ] || command -v rabbitmq-server >/dev/null 2>&1 ||
	[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]; then
	exit 0
fi

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "The tests need a system package that is missing here: $packages." >&2
	echo "Install it (Debian: apt-get install $packages), or set CRM_TEST_AMQP_URL to a broker." >&2
	exit 1
fi

# The package would start a broker of its own; the tests start theirs. Exit status 101 forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq -o DPkg::Lock::Timeout=300 </dev/null
# shellcheck disable=SC2086 - one word per package is what is meant
apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends $packages </dev/null
