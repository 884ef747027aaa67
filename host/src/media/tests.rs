use jpeg_encoder::{ColorType, Encoder};
use proptest::prelude::*;

use super::*;

/// The pixel that the fixtures have at a place.
fn pixel(x: u32, y: u32) -> [u8; 4] {
    [28 * x, 51 * y, 7 * (x + y), 255 - 20 * x].map(|part| u8::try_from(part).unwrap())
}

fn drawn(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Picture {
    let rgba = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect();
    Picture { width, height, rgba }
}

/// A picture with something of everything in it, opaque.
fn scene(width: u32, height: u32) -> Picture {
    drawn(width, height, |x, y| [(x * 7 % 256) as u8, (y * 5 % 256) as u8, ((x ^ y) % 256) as u8, 255])
}

/// A picture that no form makes much smaller.
fn noise(width: u32, height: u32) -> Picture {
    let part = |x: u32, y: u32, n: u32| {
        let mut mixed = (x * 0x9e37 + y * 0x79b9 + n * 0x1f35).wrapping_mul(0x85eb_ca6b);
        mixed ^= mixed >> 13;
        (mixed.wrapping_mul(0xc2b2_ae35) >> 16) as u8
    };
    drawn(width, height, |x, y| [part(x, y, 0), part(x, y, 1), part(x, y, 2), 255])
}

fn image(max_side: u32, max_bytes: u64, types: &[&str]) -> Bounds {
    let types = types.iter().map(|name| (*name).to_owned()).collect();
    Bounds::Image(ImageLimits { max_width: max_side, max_height: max_side, max_bytes, types })
}

fn usual() -> Bounds {
    Bounds::Image(ImageLimits::default())
}

fn fitted(bytes: &[u8], bounds: &Bounds) -> Result<(&'static str, (u32, u32), Bytes), Unfit> {
    let fitted = fit(&Bytes::copy_from_slice(bytes), bounds)?;
    Ok((fitted.media_type, dimensions(&fitted.bytes).unwrap(), fitted.bytes))
}

/// A chunk of a PNG.
fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut sum = flate2::Crc::new();
    sum.update(name);
    sum.update(body);
    [&(body.len() as u32).to_be_bytes()[..], name, body, &sum.sum().to_be_bytes()].concat()
}

/// A PNG that says it is as large as this, and has no pixels.
fn hollow(width: u32, height: u32) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &[]), chunk(b"IEND", &[])].concat()
}

fn jpeg_of(picture: &Picture, more: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 95);
    more(&mut encoder);
    encoder.encode(&picture.on_white(), picture.width as u16, picture.height as u16, ColorType::Rgb).unwrap();
    bytes
}

/// Is each part of each pixel about the same?
fn is_like(one: &Picture, other: &Picture, most: u8) -> bool {
    (one.width, one.height) == (other.width, other.height) && one.rgba.iter().zip(&other.rgba).all(|(a, b)| a.abs_diff(*b) <= most)
}

#[test]
fn files_are_known_by_their_bytes() {
    let table: [(&[u8], Option<&str>); 22] = [
        (b"\x89PNG\r\n\x1a\n", Some("image/png")),
        (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
        (b"GIF87a", Some("image/gif")),
        (b"GIF89a", Some("image/gif")),
        (b"RIFF\0\0\0\0WEBPVP8 ", Some("image/webp")),
        (b"%PDF-1.7", Some("application/pdf")),
        (b"RIFF\0\0\0\0WAVEfmt ", Some("audio/wav")),
        (b"ID3\x04", Some("audio/mpeg")),
        (b"\xff\xfb\x90\x64", Some("audio/mpeg")),
        (b"\xff\xf1\x50\x80", Some("audio/aac")),
        (b"fLaC", Some("audio/flac")),
        (b"OggS", Some("audio/ogg")),
        (b"\0\0\0\x20ftypM4A ", Some("audio/mp4")),
        // A film and a picture of the same family, and what only looks like sound.
        (b"\0\0\0\x20ftypisom", None),
        (b"\0\0\0\x20ftypheic", None),
        (b"\xff\xff\xff\xff", None),
        (b" %PDF-", None),
        (b"RIFF\0\0\0\0AVI ", None),
        (b"PK\x03\x04", None),
        (b"<svg", None),
        (b"\x89PNG", None),
        (b"", None),
    ];
    for (bytes, expected) in table {
        assert_eq!(sniff(bytes).map(|kind| kind.media_type), expected, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn every_form_of_png_has_the_same_pixels() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/media/fixtures");
    let decoded = |name: &str| png::decode(&std::fs::read(folder.join(name)).unwrap()).unwrap();
    let whole = drawn(9, 6, pixel);
    let opaque = drawn(9, 6, |x, y| [pixel(x, y)[0], pixel(x, y)[1], pixel(x, y)[2], 255]);
    for end in ["", "-interlaced"] {
        for name in ["rgba8", "rgba16", "palette8"] {
            assert_eq!(decoded(&format!("{name}{end}.png")), whole, "{name}{end}");
        }
        assert_eq!(decoded(&format!("rgb8{end}.png")), opaque, "{end}");
        let grey = |x: u32, y: u32| ((x + y) % 16 * 17) as u8;
        assert_eq!(decoded(&format!("grey4{end}.png")), drawn(9, 6, |x, y| [grey(x, y), grey(x, y), grey(x, y), 255]), "{end}");
    }
    let keyed = drawn(9, 6, |x, y| [pixel(x, y)[0], pixel(x, y)[1], pixel(x, y)[2], if (x, y) == (3, 2) { 0 } else { 255 }]);
    assert_eq!(decoded("rgb16-key.png"), keyed);
    let step = |x: u32, y: u32, steps: u32| ((x + y) % steps * 255 / (steps - 1)) as u8;
    let clear = |x: u32, y: u32| if (x + y) % 4 == 2 { 9 } else { 255 };
    assert_eq!(decoded("palette2.png"), drawn(9, 6, |x, y| [step(x, y, 4), step(x, y, 4), step(x, y, 4), clear(x, y)]));
    assert_eq!(decoded("grey1.png"), drawn(9, 6, |x, y| [step(x, y, 2), step(x, y, 2), step(x, y, 2), 255]));
    assert_eq!(decoded("grey16-alpha.png"), drawn(9, 6, |x, y| [28, 28, 28, 51].map(|part| (part * if part == 51 { y } else { x }) as u8)));
    // And what is written here is read here.
    for picture in [whole, opaque, scene(33, 21)] {
        assert_eq!(png::decode(&png::encode(&picture).unwrap()).unwrap(), picture);
    }
}

#[test]
fn the_first_picture_of_a_gif_is_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/media/fixtures");
    let moving = std::fs::read(folder.join("moving.gif")).unwrap();
    let hole = |x: u32, y: u32| if (x, y) == (3, 2) { [0; 4] } else { [pixel(x, y)[0], pixel(x, y)[1], pixel(x, y)[2], 255] };
    assert_eq!(gif::decode(&moving).unwrap(), drawn(9, 6, hole));
    assert_eq!(fitted(&moving, &usual()).unwrap().2, moving, "it moves on where it may stay as it is");
    assert_eq!(fitted(&moving, &image(20, 1 << 20, &["image/jpeg", "image/png"])).unwrap().0, "image/jpeg");
    // Codes of every length, lines out of order, and an edge that it leaves out.
    let woven = gif::decode(&std::fs::read(folder.join("woven.gif")).unwrap()).unwrap();
    let entry = |x: u32, y: u32| ((x * y + x / 7 + y * 3) % 16) as u8;
    let expected = drawn(160, 120, |x, y| match (x.checked_sub(1), y.checked_sub(2)) {
        (Some(x @ ..158), Some(y @ ..117)) => [entry(x, y) * 17, 255 - entry(x, y) * 17, entry(x, y), 255],
        _ => [0; 4],
    });
    assert!(woven == expected);
    for cut in [6, 13, 100, 210, 250, moving.len() / 2] {
        assert!(gif::decode(&moving[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn what_fits_stays_as_it_is_and_what_does_not_is_made_smaller() {
    let png = png::encode(&noise(90, 60)).unwrap();
    assert_eq!(fitted(&png, &usual()).unwrap(), ("image/png", (90, 60), png.clone().into()));
    let (media_type, size, small) = fitted(&png, &image(45, 1 << 20, &["image/jpeg", "image/png"])).unwrap();
    assert_eq!((media_type, size), ("image/png", (45, 30)));
    assert_eq!(fitted(&png, &image(45, 1 << 20, &["image/png"])).unwrap().2, small, "equal bytes and bounds give equal bytes");
    assert_eq!(fitted(&png, &image(7, 1 << 20, &["image/png"])).unwrap().1, (7, 4));
    assert_eq!(fitted(&png, &image(200, 1 << 20, &["image/jpeg"])).unwrap().0, "image/jpeg", "to a type that is taken");
    // As a JPEG where that makes it small enough, and smaller where it does not.
    let (media_type, size, bytes) = fitted(&png, &image(200, 4000, &["image/png", "image/jpeg"])).unwrap();
    assert!(media_type == "image/jpeg" && size.0 <= 90 && bytes.len() <= 4000, "{size:?} {}", bytes.len());
    let (_, size, bytes) = fitted(&png, &image(200, 1500, &["image/png"])).unwrap();
    assert!(size.0 < 90 && bytes.len() <= 1500, "{size:?} {}", bytes.len());
    assert_eq!(fitted(&png, &image(200, 20, &["image/png", "image/jpeg"])), Err(Unfit::Stubborn));
    assert!(matches!(fitted(&png, &image(200, 4000, &["image/webp"])), Err(Unfit::Type("image/png", _))));
}

#[test]
fn a_smaller_picture_shows_the_same() {
    let half = drawn(8, 8, |x, _| if x < 4 { [200, 0, 0, 255] } else { [0, 100, 0, 255] }).within(4, 4);
    assert_eq!(half, drawn(4, 4, |x, _| if x < 2 { [200, 0, 0, 255] } else { [0, 100, 0, 255] }));
    // The middle column covers both sides alike; what is transparent adds no colour.
    let third = drawn(6, 1, |x, _| if x < 3 { [200, 0, 0, 255] } else { [0, 100, 0, 255] }).within(3, 1);
    assert_eq!(third.rgba[4..8], [100, 50, 0, 255]);
    let faint = drawn(2, 2, |x, _| if x == 0 { [255, 0, 0, 255] } else { [0, 255, 0, 0] }).within(1, 1);
    assert_eq!(faint.rgba, [255, 0, 0, 128]);
    assert_eq!((scene(1000, 10).within(100, 100).height, scene(1000, 10).within(50, 1).height), (1, 1));
}

#[test]
fn a_photo_is_turned_the_way_it_was_taken() {
    // What a camera writes for each of eight ways to hold it, and where the first pixel of it belongs then.
    let first = drawn(16, 8, |x, y| if x < 8 && y < 4 { [250, 0, 0, 255] } else { [0, 0, 250, 255] });
    let red = |picture: &Picture| {
        let at = |x: u32, y: u32| picture.rgba[((y * picture.width + x) * 4) as usize] > 128;
        let (right, low) = (picture.width - 1, picture.height - 1);
        [at(0, 0), at(right, 0), at(right, low), at(0, low)].iter().position(|red| *red).unwrap()
    };
    for (orientation, corner) in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 0), (6, 1), (7, 2), (8, 3)] {
        for big in [true, false] {
            let number = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
            let zero = [0, 0];
            let (order, offset) = if big { (b"MM\0*", [0, 0, 0, 8]) } else { (b"II*\0", [8, 0, 0, 0]) };
            let count: [u8; 4] = if big { [0, 0, 0, 1] } else { [1, 0, 0, 0] };
            let entry = [&number(0x0112)[..], &number(3), &count, &number(orientation), &zero].concat();
            let exif = [&b"Exif\0\0"[..], order, &offset, &number(1), &entry, &[0; 4]].concat();
            let photo = jpeg_of(&first, |encoder| encoder.add_app_segment(1, &exif).unwrap());
            let (picture, sound) = jpeg::decode(&photo).unwrap();
            assert_eq!((red(&picture), sound), (corner, orientation == 1), "{orientation}");
            assert_eq!(picture.width, if orientation < 5 { 16 } else { 8 });
            // Nobody else turns it: it is written anew.
            let (media_type, size, bytes) = fitted(&photo, &usual()).unwrap();
            assert_eq!((media_type, size), ("image/jpeg", (picture.width, picture.height)));
            assert_eq!(bytes == photo, orientation == 1);
        }
    }
}

#[test]
fn every_form_of_jpeg_is_read() {
    let picture = drawn(48, 32, |x, y| [(x * 5) as u8, (y * 7) as u8, 90, 255]);
    let plain = jpeg_of(&picture, |_| ());
    let progressive = jpeg_of(&picture, |encoder| encoder.set_progressive(true));
    let restarting = jpeg_of(&picture, |encoder| encoder.set_restart_interval(2));
    for bytes in [plain, progressive, restarting] {
        let (decoded, sound) = jpeg::decode(&bytes).unwrap();
        assert!(sound && is_like(&decoded, &picture, 12));
        assert_eq!(fitted(&bytes, &usual()).unwrap().2, bytes);
        let (media_type, size, _) = fitted(&bytes, &image(24, 1 << 20, &["image/jpeg"])).unwrap();
        assert_eq!((media_type, size), ("image/jpeg", (24, 16)));
    }
    let mut grey = Vec::new();
    Encoder::new(&mut grey, 95).encode(&[77; 48 * 32], 48, 32, ColorType::Luma).unwrap();
    assert!(is_like(&jpeg::decode(&grey).unwrap().0, &drawn(48, 32, |_, _| [77, 77, 77, 255]), 3));
}

#[test]
fn a_bomb_is_refused_before_anything_is_decoded() {
    for (width, height) in [(50_000, 50_000), (u32::MAX, u32::MAX), (u32::MAX, 1), (7072, 7072)] {
        assert_eq!(fitted(&hollow(width, height), &usual()), Err(Unfit::TooManyPixels(width, height)));
    }
    let mut jpeg = jpeg_of(&scene(16, 16), |_| ());
    let frame = jpeg.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    assert_eq!(fitted(&jpeg, &usual()), Err(Unfit::TooManyPixels(65535, 65535)));
    // The first size says one thing and a second frame another: what counts is what is decoded.
    let mut two = jpeg_of(&scene(16, 16), |_| ());
    let small = two[frame..frame + 19].to_vec();
    two[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    two.splice(frame..frame, small);
    assert!(fitted(&two, &usual()).is_err());
    let gif = b"GIF89a\xff\xff\xff\xff\0\0\0".to_vec();
    assert_eq!(fitted(&gif, &usual()), Err(Unfit::TooManyPixels(65535, 65535)));
    let small = b"GIF89a\x09\0\x09\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02".to_vec();
    assert_eq!(fitted(&small, &usual()), Err(Unfit::TooManyPixels(65535, 65535)), "nor is what lies on it larger");
    // A data stream that goes on for ever is read as far as the picture goes.
    let zeros = {
        use std::io::Write as _;
        let mut data = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        data.write_all(&vec![0; 32 << 20]).unwrap();
        data.finish().unwrap()
    };
    let header = [&4_u32.to_be_bytes()[..], &4_u32.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    let long = [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &zeros), chunk(b"IEND", &[])].concat();
    assert_eq!(png::decode(&long).unwrap().rgba.len(), 64);
}

#[test]
fn what_is_damaged_is_not_sent_as_it_is() {
    let png = png::encode(&scene(40, 40)).unwrap();
    for cut in [8, 20, 33, 60, png.len() - 20, png.len() - 1] {
        assert!(matches!(fitted(&png[..cut], &usual()), Err(Unfit::Damaged(_))), "{cut}");
    }
    let mut flipped = png.clone();
    flipped[100] ^= 1;
    assert!(matches!(fitted(&flipped, &usual()), Err(Unfit::Damaged(_))));
    assert!(matches!(fitted(&hollow(4, 4), &usual()), Err(Unfit::Damaged(_))));
    let photo = jpeg_of(&scene(64, 64), |_| ());
    assert!(matches!(fitted(&photo[..100], &usual()), Err(Unfit::Damaged(_))));
    // What is left of a photo is worth showing, but in a form that nobody refuses.
    match fitted(&photo[..photo.len() / 2], &usual()) {
        Ok((media_type, size, bytes)) => {
            assert_eq!((media_type, size), ("image/jpeg", (64, 64)));
            assert!(jpeg::decode(&bytes).unwrap().1);
        }
        Err(why) => assert!(matches!(why, Unfit::Damaged(_)), "{why}"),
    }
    assert_eq!(fitted(b"no picture", &usual()), Err(Unfit::Other));
    assert_eq!(fitted(b"%PDF-1.7", &usual()), Err(Unfit::Other), "its kind is another");
}

#[test]
fn other_files_are_sent_whole_or_not_at_all() {
    let pdf = Bytes::from_static(b"%PDF-1.7 and so on");
    let ogg = Bytes::from_static(b"OggS and so on");
    let bounds = |max_bytes| Bounds::Pdf(PdfLimits { max_bytes });
    assert_eq!(fit(&pdf, &bounds(18)).unwrap(), Fitted { bytes: pdf.clone(), media_type: "application/pdf" });
    assert_eq!(fit(&pdf, &bounds(17)).unwrap_err().to_string(), "it has over 17 bytes");
    let audio =
        |types: &[&str]| Bounds::Audio(AudioLimits { max_bytes: 100, types: types.iter().map(|name| (*name).to_owned()).collect() });
    assert_eq!(fit(&ogg, &audio(&["audio/wav", "audio/ogg"])).unwrap().media_type, "audio/ogg");
    let refused = fit(&ogg, &audio(&["audio/wav", "audio/mpeg"])).unwrap_err();
    assert_eq!(refused.to_string(), "audio/ogg is not taken by this model, only audio/wav, audio/mpeg");
    assert_eq!(fit(&pdf, &audio(&["audio/ogg"])), Err(Unfit::Other));
    // This is not decoded: as it is, or not at all.
    let webp = [b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0".as_slice(), &[39, 0, 0, 29, 0, 0]].concat();
    assert_eq!(fitted(&webp, &usual()).unwrap().1, (40, 30));
    assert_eq!(fitted(&webp, &image(39, 1000, &["image/webp", "image/png"])), Err(Unfit::Rigid("image/webp")));
}

#[test]
fn a_webp_says_its_size_in_three_ways() {
    let webp = |form: &[u8; 4], body: &[u8]| [b"RIFF\0\0\0\0WEBP", &form[..], &[0; 4], body].concat();
    let extended = webp(b"VP8X", &[0, 0, 0, 0, 39, 0, 0, 29, 0, 0]);
    let lossless = webp(b"VP8L", &[0x2f, 39, 0x40, 7, 0]);
    let lossy = webp(b"VP8 ", &[0, 0, 0, 0x9d, 1, 0x2a, 40, 0, 30, 0]);
    assert_eq!([extended, lossy].map(|bytes| dimensions(&bytes)), [Some((40, 30)); 2]);
    assert_eq!(dimensions(&lossless), Some((40, 30)));
}

#[test]
fn only_what_a_model_could_be_shown_is_read_to_its_end() {
    use std::io::{Seek as _, Write as _};
    let file = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    };
    assert!(
        matches!(read(&file(b"%PDF-1.7 and more than its head")), Ok(Found::Media(bytes, kind)) if bytes.len() == 31 && kind.modality == Modality::Pdf)
    );
    let mut text = file(&[b'x'; 1000]);
    assert!(matches!(read(&text), Ok(Found::Other)));
    assert_eq!(text.stream_position().unwrap(), limits::SNIFFED_BYTES as u64);
    let large = file(b"OggS");
    large.set_len(limits::MEDIA_BYTES + 1).unwrap();
    assert!(matches!(read(&large), Ok(Found::TooLarge)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the bytes are, there is an answer, and what is sent keeps to the bounds.
    #[test]
    fn any_bytes_are_sent_within_the_bounds_or_not_at_all(
        form in 0_usize..5,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
        end in proptest::option::of(any::<proptest::sample::Index>()),
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        side in 1_u32..40,
    ) {
        let mut bytes = match form {
            0 => png::encode(&scene(24, 17)).unwrap(),
            1 => jpeg_of(&scene(24, 17), |_| ()),
            2 => jpeg_of(&scene(24, 17), |encoder| encoder.set_progressive(true)),
            3 => include_bytes!("fixtures/moving.gif").to_vec(),
            _ => [b"\x89PNG\r\n\x1a\n".as_slice(), &noise].concat(),
        };
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok((media_type, (width, height), sent)) = fitted(&bytes, &image(side, 2000, &["image/jpeg", "image/png"])) {
            prop_assert!(width <= side && height <= side && sent.len() <= 2000);
            prop_assert_eq!(sniff(&sent).unwrap().media_type, media_type);
        }
    }

    #[test]
    fn any_noise_has_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for head in [&b""[..], b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"%PDF-"] {
            let bytes = [head, &bytes].concat();
            let _ = (sniff(&bytes), dimensions(&bytes), fitted(&bytes, &usual()).is_ok());
        }
    }
}
