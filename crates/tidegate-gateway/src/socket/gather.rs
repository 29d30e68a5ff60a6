//! Bytes from several places in one, for a write.

use std::io::IoSlice;

use tokio::io::ReadBuf;

/// Up to so many bytes are copied before they are written: that is cheaper than to tell the kernel of several places, or of
/// one as a list of one (`cargo bench -p tidegate-gateway --bench one_place`).
pub(super) const GATHERED: usize = 4 * 1024;

/// The bytes of all `slices` in one place: where they are, if that is one already, or in `room` if they fit in there.
pub(super) fn gather<'r>(slices: &'r [IoSlice<'_>], room: &'r mut ReadBuf<'_>) -> Option<&'r [u8]> {
    if let [only] = slices {
        return Some(only);
    }
    let length: usize = slices.iter().map(|slice| slice.len()).sum();
    if length > room.remaining() {
        return None;
    }
    slices.iter().for_each(|slice| room.put_slice(slice));
    Some(room.filled())
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use super::*;

    #[test]
    fn what_fits_is_in_one_place_and_one_place_is_left_where_it_is() {
        let gathered = |slices: &[&str]| {
            let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice.as_bytes())).collect();
            let mut room = [MaybeUninit::uninit(); 6];
            gather(&slices, &mut ReadBuf::uninit(&mut room)).map(<[u8]>::to_vec)
        };
        assert_eq!(gathered(&["abc", "", "def"]).as_deref(), Some(&b"abcdef"[..]));
        assert_eq!(gathered(&["abc", "defg"]), None);
        assert_eq!(gathered(&["longer than the room"]).as_deref(), Some(&b"longer than the room"[..]));
        assert_eq!(gathered(&[]).as_deref(), Some(&b""[..]));
        let one = [IoSlice::new(b"abc")];
        let mut room = [MaybeUninit::uninit(); 6];
        let place = gather(&one, &mut ReadBuf::uninit(&mut room)).map(<[u8]>::as_ptr);
        assert_eq!(place, Some(one[0].as_ptr()));
    }
}
