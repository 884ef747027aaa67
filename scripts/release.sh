#!/usr/bin/env bash
# What a release is: the version in VERSION, when no tag of that name exists yet.
#
#   plan             says whether HEAD is to be released and why, as `key=value` lines; changes nothing
#   pack BINARY DIR  puts the files of the release and their SHA-256 sums into DIR
#   notes            prints the version's section of CHANGELOG.md
#   tag              tags HEAD and pushes the tag to origin
set -euo pipefail
cd "$(git rev-parse --show-toplevel)"

fail() { echo "release: $*" >&2; exit 1; }

version=$(cat VERSION)
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || fail "VERSION holds \"$version\", not a version"
tag=v$version

# The tag may have been made elsewhere since this clone was.
tagged() {
  git rev-parse -q --verify "refs/tags/$tag" >/dev/null && return
  git remote get-url origin >/dev/null 2>&1 || return 1
  [ -n "$(git ls-remote --tags origin "refs/tags/$tag")" ]
}

# Everything that names the version must name this one, and the contract must be frozen.
check() {
  grep -qx "version = \"$version\"" Cargo.toml || fail "VERSION says $version, Cargo.toml something else"
  grep -qF "## [$version]" CHANGELOG.md || fail "CHANGELOG.md has no section \"## [$version]\""
  ! grep -F "## [$version]" CHANGELOG.md | grep -qi unreleased || fail "CHANGELOG.md says that $version is unreleased; give it its date"
  check_frozen
}

# What is released is frozen: from then on plugins are built against it, and every later host must serve them.
check_frozen() {
  local contract frozen file
  contract=$(sed -n 's/^package stellaclaw:plugin@\(.*\);$/\1/p' wit/*.wit | sort -u)
  [[ $contract =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "the files of wit/ do not name one version of the contract"
  frozen=wit/frozen/$contract
  if [ ! -d "$frozen" ] || [ ! -s "host/tests/fixtures/frozen/$contract.wasm" ]; then
    fail "the contract $contract is not frozen; run scripts/freeze-contract.sh $contract and commit what it makes"
  fi
  for file in wit/*.wit "$frozen"/*.wit; do
    cmp -s "wit/${file##*/}" "$frozen/${file##*/}" || fail "${file##*/} is not as the contract $contract was frozen; give the contract in wit/ a new version"
  done
  for file in "$frozen"/*.wit "host/tests/fixtures/frozen/$contract.wasm"; do
    grep -qF "  $file" wit/frozen/SHA256SUMS || fail "$file has no sum in wit/frozen/SHA256SUMS"
  done
  sha256sum --check --quiet wit/frozen/SHA256SUMS >&2 || fail "what was frozen has changed; put it back"
}

notes() { awk -v head="## [$version]" 'index($0, "## [") == 1 { on = index($0, head) == 1; next } on' CHANGELOG.md; }

plan() {
  local before
  if tagged; then
    echo "release=no" && echo "reason=$tag exists"
    return
  fi
  before=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null) || before=
  if [ -n "$before" ] && [ "$(git show "$before:VERSION")" = "$version" ]; then
    echo "release=no" && echo "reason=VERSION has not changed since $before"
    return
  fi
  if grep -F "## [$version]" CHANGELOG.md | grep -qi unreleased; then
    echo "release=no" && echo "reason=CHANGELOG.md says that $version is unreleased"
    return
  fi
  check
  echo "release=yes"
  echo "tag=$tag"
  echo "reason=VERSION is $version${before:+, the last release was $before}"
}

pack() {
  local binary=$1 dir=$2 name
  [ -x "$binary" ] || fail "$binary is not a program"
  check
  name=stellaclaw-$version-$(uname -m)-$(uname -s | tr '[:upper:]' '[:lower:]')
  mkdir -p "$dir"
  cp "$binary" "$dir/$name"
  cp VERSION example_config.toml "$dir/"
  (cd "$dir" && sha256sum "$name" VERSION example_config.toml > SHA256SUMS)
}

case "${1-}" in
  plan) plan ;;
  pack) [ $# = 3 ] || fail "pack BINARY DIR"; pack "$2" "$3" ;;
  notes) notes ;;
  tag)
    check
    ! tagged || fail "$tag exists"
    git tag "$tag"
    git push -q origin "refs/tags/$tag"
    ;;
  *) fail "plan, pack BINARY DIR, notes or tag" ;;
esac
