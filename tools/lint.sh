#!/bin/sh
# Runs every check, also after one has failed, and fails if any has.
set -u
bin=.venv/bin
failed=""

check() {
	name=$1
	shift
	echo "lint: $name"
	"$@" || failed="$failed $name"
}

# Envoy itself judges the configuration that the gateway renders from the contracts.
gateway_configuration() {
	folder=$(mktemp -d)
	services=""
	for service in services/*/; do
		services="$services,$(basename "$service")=127.0.0.1:26001"
	done
	CRM_SERVICES=${services#,} "$bin/python" -m gateway envoy-config "$folder" &&
		"$bin/envoy" --mode validate --log-level critical -c "$folder/envoy.json" >/dev/null
	status=$?
	rm -rf "$folder"
	return $status
}

# What clients may rely on since the last release is still there.
contracts_kept() {
	tag=$(git describe --tags --abbrev=0 2>/dev/null) || return 0
	released=$(mktemp -d)
	git archive "$tag" protos | tar -x -C "$released" &&
		sources=$(cd "$released/protos" && find crm -name '*.proto') &&
		"$bin/python" -m grpc_tools.protoc --descriptor_set_in=protos/src/crm/api.binpb --include_imports \
			-I"$released/protos" --descriptor_set_out="$released/api.binpb" $sources &&
		"$bin/buf" breaking protos/src/crm/api.binpb --against "$released/api.binpb" \
			--config protos/buf.yaml --path crm
	status=$?
	rm -rf "$released"
	return $status
}

# Modules of a folder with tests share names, so each package is checked by its own path.
sources=$(ls -d kit/src/crmkit transfer/src/crmtransfer attachments/src/crmattachments services/*/src/* gateway/src/gateway cli/src/crm_cli)

check ruff "$bin/ruff" check --quiet .
check format "$bin/ruff" format --quiet --check .
# shellcheck disable=SC2086 - one word per package
check types "$bin/mypy" $sources
check imports "$bin/lint-imports" --no-logo
check contracts "$bin/buf" lint protos/src/crm/api.binpb --config protos/buf.yaml --path crm
check "contracts since the last release" contracts_kept
check gateway gateway_configuration

if [ -n "$failed" ]; then
	echo "lint: failed:$failed" >&2
	exit 1
fi
