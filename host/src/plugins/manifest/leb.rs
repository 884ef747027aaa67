//! Numbers as WebAssembly writes them. Tests that make components by hand use it, too.

/// An unsigned LEB128 number: seven bits in each byte, the lowest first.
pub fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}
