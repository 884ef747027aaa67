#!/usr/bin/env bash
# Freezes the contract in wit/ as version X.Y.Z, which it must name: a copy of its text, and a component that uses all of it.
# From then on every host must load that component (host/tests/all/contract.rs), and nothing of it changes: their sums are in
# wit/frozen/SHA256SUMS. A release is refused without them (scripts/release.sh).
#
#   freeze-contract.sh X.Y.Z
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "freeze-contract: $*" >&2; exit 1; }

version=${1-}
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "say which version: freeze-contract.sh X.Y.Z"
for file in wit/*.wit; do
  grep -qxF "package stellaclaw:plugin@$version;" "$file" || fail "$file is not of version $version"
  cmp -s "$file" "sdk/$file" || fail "sdk/$file differs; copy wit/ to sdk/wit/"
done
frozen=wit/frozen/$version
fixture=host/tests/fixtures/frozen/$version.wasm
[ ! -e "$frozen" ] && [ ! -e "$fixture" ] || fail "$version is frozen already, and what is frozen never changes"

target=${CARGO_TARGET_DIR:-target}/components
cargo build --locked --profile component --target wasm32-wasip2 --target-dir "$target" --package every-interface

mkdir -p "$frozen" "$(dirname "$fixture")"
cp wit/*.wit "$frozen/"
cp "$target/wasm32-wasip2/component/every_interface.wasm" "$fixture"
sha256sum "$frozen"/*.wit "$fixture" >> wit/frozen/SHA256SUMS
echo "froze $version: commit wit/frozen and $fixture"
