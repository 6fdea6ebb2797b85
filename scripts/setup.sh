#!/bin/sh
# Makes sure of what a make target needs from the system: setup.sh build|demo|test|bench|bench-deps.
# Installs packages where root may; otherwise says in one line what is missing.
set -eu

die() { echo "twill: $*" >&2; exit 1; }

command -v node >/dev/null || die "Node.js is missing: install version 20.11 or newer (https://nodejs.org)"
command -v npm >/dev/null || die "npm is missing: install it beside Node.js"
node -e 'const [a, b] = process.versions.node.split("."); process.exit(+a > 20 || (+a === 20 && +b >= 11) ? 0 : 1)' ||
  die "Node.js $(node -p process.versions.node) is too old: 20.11 or newer is needed"

packages=
# need COMMAND PACKAGE
need() { command -v "$1" >/dev/null || packages="$packages $2"; }

PATH=$PATH:/usr/sbin:/sbin
need cc build-essential
# node-gyp's, for raw-socket
need g++ build-essential; need python3 python3
case ${1:-build} in
  build) ;;
  demo)
    need ip iproute2; need ping iputils-ping; need iperf3 iperf3; need nft nftables ;;
  test)
    need ip iproute2; need ping iputils-ping; need iperf3 iperf3; need ethtool ethtool
    need tcpdump tcpdump; need tshark tshark; need nft nftables ;;
  bench)
    need ip iproute2; need ping iputils-ping; need iperf3 iperf3; need taskset util-linux ;;
  bench-deps)
    need iperf3 iperf3; need ethtool ethtool; need ovs-vswitchd openvswitch-switch; need vde_switch vde2
    need tincd tinc; need iptables-restore iptables; need nft nftables ;;
  *) die "setup.sh build|demo|test|bench|bench-deps" ;;
esac
[ -n "$packages" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  # the program and its unit tests can do without the clients
  command -v cc >/dev/null || die "missing: apt-get install$packages"
  echo "twill: missing, so something will be skipped or refused: apt-get install$packages" >&2
  exit 0
fi
echo "twill: installing$packages" >&2
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
own=
trap 'rm -f "$log" ${own:+"$policy"}' EXIT
# the benchmark starts its own Open vSwitch: keep the package from starting the system's
if [ "$1" = bench-deps ] && [ ! -e "$policy" ]; then
  own=1
  printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
install() {
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $packages </dev/null >"$log" 2>&1
}
install || { apt-get update -qq </dev/null >"$log" 2>&1 && install; } ||
  { tail -n 5 "$log" >&2; die "apt-get install$packages failed"; }
