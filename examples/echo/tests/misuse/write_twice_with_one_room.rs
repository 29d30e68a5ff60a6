use tidegate::writer::Room;
use tokio::net::TcpStream;

fn echo(room: Room<'_, TcpStream>) {
    room.write("a line\n").unwrap().later();
    room.write("another\n").unwrap().later();
}

fn main() {
    let _ = echo;
}
