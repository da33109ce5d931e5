# The Debian package in a root of its own: installed, tried, removed.
cd /packages
. /packages/work/trial/dist/smoke.sh
never dpkg -s xfer
# Images for containers leave out manuals.
dpkg -i --path-include='*' xfer_*.deb
smoke /usr "$(dirname "$(dpkg -L xfer | grep '/libxfer\.so\.1$')")"
if has systemd-sysusers; then
    getent passwd xfer >/dev/null
    echo "  the unit's user is there"
fi
never test -e /etc/systemd/system/multi-user.target.wants/xfer.service
found() { ldconfig -p | grep -q 'libxfer\.so\.1 '; }
found
dpkg -V xfer
dpkg -r xfer
never dpkg -s xfer
never found
