# The tarball in a root of its own: unpacked where its unit expects it, tried, removed.
mkdir /opt/xfer
tar -C /opt/xfer --strip-components=1 -xzf /packages/xfer-*.tar.gz
export PATH="/opt/xfer/bin:$PATH" LD_LIBRARY_PATH=/opt/xfer/lib PKG_CONFIG_PATH=/opt/xfer/lib/pkgconfig
export CMAKE_PREFIX_PATH=/opt/xfer MANPATH=/opt/xfer/share/man
. /packages/work/trial/dist/smoke.sh
smoke /opt/xfer /opt/xfer/lib
rm -r /opt/xfer
