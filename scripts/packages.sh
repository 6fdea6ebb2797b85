#!/bin/sh
# Installs the npm packages. raw-socket, which is optional, is compiled here.
set -eu

# node-gyp would download the headers that lie beside node already
root=$(node -p 'path.resolve(process.execPath, "../..")')
[ ! -f "$root/include/node/common.gypi" ] || export npm_config_nodedir="$root"
npm ci --no-audit --no-fund --loglevel=error
node -e 'require("raw-socket")' 2>/dev/null ||
  echo "twill: raw-socket was not built: peer probing and its tests are off" >&2
