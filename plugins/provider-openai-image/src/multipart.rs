//! A form with files, as `multipart/form-data` (RFC 7578).

use stellaclaw_sdk::http::Piece;
use stellaclaw_sdk::images::Image;

/// A form that is being filled in.
#[derive(Debug, Default)]
pub struct Form {
    /// Heads, and what stands below them.
    parts: Vec<(String, Vec<u8>)>,
}

impl Form {
    /// Adds a field. `name` is one of ours: nothing in it is escaped.
    pub fn text(&mut self, name: &str, value: String) {
        self.parts.push((format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n"), value.into_bytes()));
    }

    /// Adds a file. `name`, `file` and the image's type are words that were checked.
    pub fn image(&mut self, name: &str, file: &str, image: &Image) {
        let head =
            format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\nContent-Type: {}\r\n\r\n", image.media_type);
        self.parts.push((head, image.data.clone()));
    }

    /// The type of the body, and the body.
    #[must_use]
    pub fn finish(self) -> (String, Vec<Piece>) {
        let boundary = self.boundary();
        let mut body = Vec::with_capacity(3 * self.parts.len() + 1);
        for (head, contents) in self.parts {
            body.push(Piece::Bytes(format!("--{boundary}\r\n{head}").into_bytes()));
            body.push(Piece::Bytes(contents));
            body.push(Piece::Bytes(b"\r\n".to_vec()));
        }
        body.push(Piece::Bytes(format!("--{boundary}--\r\n").into_bytes()));
        (format!("multipart/form-data; boundary={boundary}"), body)
    }

    /// What stands in none of the parts.
    fn boundary(&self) -> String {
        let mut number = 0_u32;
        loop {
            let boundary = format!("stellaclaw-form-{number:08}");
            let stands = |part: &[u8]| part.windows(boundary.len()).any(|window| window == boundary.as_bytes());
            if !self.parts.iter().any(|(_, contents)| stands(contents)) {
                return boundary;
            }
            number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(pieces: Vec<Piece>) -> Vec<u8> {
        let bytes = |piece| match piece {
            Piece::Bytes(bytes) => bytes,
            Piece::Blob(_) => unreachable!("a form has no blobs"),
        };
        pieces.into_iter().flat_map(bytes).collect()
    }

    /// The contents of a form's parts, as a server reads them.
    fn parts(content_type: &str, body: &[u8]) -> Vec<Vec<u8>> {
        let boundary = content_type.strip_prefix("multipart/form-data; boundary=").unwrap();
        let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|window| window == what);
        let mut rest = body.strip_prefix(format!("--{boundary}").as_bytes()).unwrap();
        let mut parts = Vec::new();
        while let Some(part) = rest.strip_prefix(b"\r\n") {
            let contents = &part[find(part, b"\r\n\r\n").unwrap() + 4..];
            let end = find(contents, format!("\r\n--{boundary}").as_bytes()).unwrap();
            parts.push(contents[..end].to_vec());
            rest = &contents[end + 4 + boundary.len()..];
        }
        assert_eq!(rest, b"--\r\n");
        parts
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..5), hostile: bool) {
            let mut form = Form::default();
            let mut expected = contents;
            if hostile {
                expected.push(b"x\r\n--stellaclaw-form-00000000\r\n--stellaclaw-form-00000001--\r\n".to_vec());
            }
            for data in &expected {
                form.image("image[]", "image.png", &Image { media_type: "image/png".into(), data: data.clone() });
            }
            form.text("prompt", "a fox".into());
            expected.push(b"a fox".to_vec());
            let (content_type, body) = form.finish();
            prop_assert_eq!(parts(&content_type, &whole(body)), expected);
        }
    }
}
