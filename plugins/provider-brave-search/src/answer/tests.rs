use proptest::prelude::*;
use stellaclaw_sdk::ErrorKind;

use super::*;

const WEB: &str = r#"{"type":"search","query":{"original":"red fox","more_results_available":true},
 "mixed":{"type":"mixed"},"web":{"type":"search","family_friendly":true,"results":[
  {"title":"The <strong>red fox</strong> &amp; its kin","url":"https://example.org/fox","is_source_local":false,
   "description":"A <strong>red fox</strong> isn&#x27;t a dog.","page_age":"2024-02-05T12:14:33","age":"February 5, 2024",
   "profile":{"name":"Example","url":"https://example.org"},"language":"en","family_friendly":true,
   "meta_url":{"scheme":"https","netloc":"example.org","hostname":"www.example.org","favicon":"https://f","path":"› fox"},
   "thumbnail":{"src":"https://imgs.example/t.jpg","original":"https://example.org/o.jpg"},
   "extra_snippets":["It hunts <em>alone</em>.",""]},
  {"title":"Foxes","url":"https://example.net/","description":"","age":null,"page_age":null,"thumbnail":null}]}}"#;

const NEWS: &str = r#"{"type":"news","query":{"original":"fox"},"results":[{"type":"news_result","title":"Fox seen","url":"https://news.example/1",
 "description":"In the city.","age":"2 hours ago","page_age":"2026-11-23T01:00:00","breaking":false,"meta_url":{"hostname":"news.example"},
 "thumbnail":{"src":"https://imgs.example/n.jpg"}}]}"#;

const IMAGES: &str = r#"{"type":"images","query":{"original":"fox"},"results":[{"type":"image_result","title":"Fox","url":"https://example.org/page",
 "source":"example.org","page_fetched":"2024-01-01T00:00:00Z","thumbnail":{"src":"https://imgs.example/i.jpg","width":500},
 "properties":{"url":"https://example.org/fox.jpg","placeholder":"https://p","width":1600,"height":900},"meta_url":{"hostname":"example.org"},
 "confidence":"high"}]}"#;

const VIDEOS: &str = r#"{"type":"videos","query":{"original":"fox"},"results":[{"type":"video_result","title":"Fox cubs","url":"https://video.example/v",
 "description":"They play.","age":"May 1, 2023","page_age":"2023-05-01T00:00:00","video":{"duration":"03:20","views":1200,"creator":"A &amp; B",
 "publisher":"Video"},"thumbnail":{"src":"https://imgs.example/v.jpg"}}]}"#;

#[test]
fn each_vertical_is_read() {
    let read = |body: &str, vertical| hits(body.as_bytes(), vertical).unwrap();
    insta::assert_debug_snapshot!([
        read(WEB, Vertical::Web),
        read(NEWS, Vertical::News),
        read(IMAGES, Vertical::Images),
        read(VIDEOS, Vertical::Videos),
    ]);
}

#[test]
fn nothing_found_is_no_error() {
    assert_eq!(hits(br#"{"type":"search","query":{}}"#, Vertical::Web), Ok(Vec::new()));
    assert_eq!(hits(br#"{"type":"news","results":[]}"#, Vertical::News), Ok(Vec::new()));
    assert_eq!(hits(br#"{"web":{}}"#, Vertical::Web), Ok(Vec::new()));
}

#[test]
fn what_leads_nowhere_is_left_out() {
    let body = br#"{"web":{"results":[{"title":"no address"},{"title":"script","url":"javascript:alert(1)"},{"url":"http://a.example"}]}}"#;
    let found = hits(body, Vertical::Web).unwrap();
    assert_eq!(found.iter().map(|hit| hit.url.as_str()).collect::<Vec<_>>(), ["http://a.example"]);
}

#[test]
fn an_error_in_the_place_of_an_answer_is_one() {
    let limited = br#"{"type":"ErrorResponse","error":{"code":"RATE_LIMITED","detail":"Slow down."},"time":1}"#;
    assert_eq!(hits(limited, Vertical::Web).unwrap_err().kind, ErrorKind::RateLimited);
    let page = hits(b"<html>", Vertical::Web).unwrap_err();
    assert!(page.kind == ErrorKind::Failed && page.message.contains("cannot be understood"), "{page:?}");
}

proptest! {
    /// Whatever part of an answer arrives, or is another one: hits or an error.
    #[test]
    fn nothing_breaks_it(at in 0..WEB.len(), byte: u8, cut: bool) {
        let mut body = WEB.as_bytes().to_vec();
        body[at] = byte;
        if cut {
            body.truncate(at);
        }
        for vertical in [Vertical::Web, Vertical::Images] {
            if let Ok(found) = hits(&body, vertical) {
                prop_assert!(found.iter().all(|hit| hit.url.starts_with("http")));
            }
        }
    }
}
