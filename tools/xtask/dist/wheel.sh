# The wheel in a root of its own: installed into a fresh environment without a network, tried against a node, removed.
. /packages/work/trial/dist/smoke.sh
has /usr/bin/python3 || exit 0
work=$(mktemp -d)
mkdir "$work/node"
tar -C "$work/node" --strip-components=1 -xzf /packages/xfer-*.tar.gz
/usr/bin/python3 -m venv "$work/venv"
pip() { "$work/venv/bin/python" -m pip --isolated --disable-pip-version-check "$@"; }
pip install --quiet --no-index --no-compile --find-links /packages/work/python cffi
find "$work/venv" | sort >"$work/before"
pip install --quiet --no-index --no-compile --find-links /packages/work/python /packages/xfer-*.whl
serve "$work/node/bin/xferctl" "$work"
head -c 3000001 /dev/urandom >"$work/sent"
"$work/venv/bin/python" - "$link" "$work" <<'PYTHON'
import sys, xfer

link, work = sys.argv[1:]
with xfer.connect(link) as client:
    client.put(f"{work}/sent", "copy")
    assert client.get("copy", f"{work}/got") == 3000001
    assert client.cat("copy", -4) == open(f"{work}/sent", "rb").read()[-4:]
print("  put and get by Python through a node")
PYTHON
cmp "$work/sent" "$work/got"
cmp "$work/sent" "$work/served/copy"
stop
pip uninstall --quiet --yes xfer
find "$work/venv" | sort | cmp - "$work/before"
rm -r "$work"
