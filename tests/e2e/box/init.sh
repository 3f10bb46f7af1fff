#!/bin/sh
# First process of the new namespaces: builds a root that can be thrown away, and becomes systemd in it.
#   init.sh FOLDER [SHOWN…]     then one line on stdin: go
# FOLDER becomes the mount point of a tmpfs that only these namespaces see, so it ends with them.
# SHOWN: folders of the machine below /tmp that the box sees too, and can't change.
set -eu
box=$1
shift
# Our parent leaves the box's cgroup first: systemd can't hand controllers down from a cgroup with processes.
read -r _go
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$box"
mkdir "$box/up" "$box/work" "$box/root"
# Without the overlay systemd-tmpfiles would empty the machine's own /tmp at boot.
mount -t overlay overlay -o "lowerdir=/,upperdir=$box/up,workdir=$box/work" "$box/root"
root=$box/root
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for shown in "$@"; do
    mkdir -p "$root$shown"
    mount --bind "$shown" "$root$shown"
    # Before systemd-tmpfiles empties the box's /tmp: these are the machine's own files.
    mount -o remount,bind,ro "$root$shown"
done

# Boot what logins and units need, and nothing else that this machine may have installed.
units=$root/run/systemd/system
mkdir -p "$units" "$root/run/lock" "$root/run/systemd/journald.conf.d" "$root/run/systemd/system.conf.d"
cat >"$units/box.target" <<'UNIT'
[Unit]
Requires=basic.target dbus.socket
Wants=dbus.service systemd-logind.service systemd-user-sessions.service
After=basic.target dbus.service systemd-logind.service systemd-user-sessions.service
AllowIsolate=yes
UNIT
printf '[Journal]\nStorage=volatile\n' >"$root/run/systemd/journald.conf.d/box.conf"
for unit in systemd-udevd.service systemd-udev-trigger.service systemd-networkd.service systemd-resolved.service \
    systemd-timesyncd.service systemd-modules-load.service systemd-remount-fs.service systemd-binfmt.service \
    dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    sys-fs-fuse-connections.mount sys-kernel-config.mount proc-sys-fs-binfmt_misc.automount; do
    ln -sf /dev/null "$units/$unit"
done
# The machine's own file systems are there already; systemd must not try to mount them again.
: >"$root/etc/fstab"

cd "$root"
mkdir .machine
pivot_root . .machine
umount -l /.machine
export container=box
exec /lib/systemd/systemd --system --log-target=journal --show-status=0 --unit=box.target </dev/null
