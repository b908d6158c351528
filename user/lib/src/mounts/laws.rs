// SPDX-License-Identifier: GPL-2.0
//! What must hold of the lists of mounts, whatever is in them: see [`crate::laws`].

use super::*;

/// `/proc/self/mountinfo`
pub fn mountinfo(bytes: &[u8]) {
    assert_eq!(unescape(escape(bytes).as_bytes()), bytes);
    let Ok(mounts) = Mounts::parse(bytes) else {
        return;
    };
    for mount in mounts.iter() {
        assert_eq!(
            mounts.on(&mount.point).map(|on| &on.point),
            Some(&mount.point)
        );
        assert!(mounts.of(&mount.point).is_some());
        assert!(mounts
            .from(mount.device)
            .is_some_and(|from| from.device == mount.device));
        assert!(mounts.below(mount).all(|below| below.point != mount.point));
        mount.all_options();
    }
}

/// `/etc/fstab`
pub fn fstab(bytes: &[u8]) {
    let path = Path::new("/srv/h a");
    let has = has_line_for(bytes, path);
    let with = [bytes, b"\n/dev/x /srv/h\\040a ext4\n"].concat();
    assert!(has_line_for(&with, path));
    let commented = [b"#", bytes].concat();
    assert!(has || !has_line_for(&commented, path));
}
