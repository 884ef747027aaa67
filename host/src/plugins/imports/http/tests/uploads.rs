//! Bodies that are written while they are sent.

use super::*;

impl Call {
    async fn open(&mut self, request: Request, length: Option<u64>) -> Result<Resource<Upload>, Error> {
        self.view().open_upload(request, length).await.unwrap()
    }

    async fn write(&mut self, upload: &Resource<Upload>, data: &[u8]) -> Result<(), Error> {
        HostUpload::write(&mut self.view(), Resource::new_borrow(upload.rep()), data.to_vec()).await.unwrap()
    }

    async fn finish(&mut self, upload: Resource<Upload>) -> Result<Resource<Response>, Error> {
        self.view().finish(upload).await.unwrap()
    }
}

fn post(url: String) -> Request {
    Request { method: "POST".to_owned(), ..get(url) }
}

/// Takes connections and reads nothing.
async fn deaf() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    (listener, url)
}

#[tokio::test]
async fn what_is_written_arrives_with_and_without_a_length() {
    for (length, body) in [(Some(11), "\r\n\r\nhello world"), (None, "\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n")] {
        let server = Server::start(vec![vec![Say::Text(redirect(307, "/elsewhere"))]]).await;
        let mut call = Call::new(vec![server.origin()], vec![server.origin()]);
        let request = Request { method: "PUT".to_owned(), ..with_key(server.url("/x"), Place::Bearer) };
        let upload = call.open(request, length).await.unwrap();
        call.write(&upload, b"hello ").await.unwrap();
        call.write(&upload, b"").await.unwrap();
        call.write(&upload, b"world").await.unwrap();
        let response = call.finish(upload).await.unwrap();
        // What is gone cannot be sent again: the redirect is the answer.
        assert_eq!(call.view().status(handle(&response)).await.unwrap(), 307);
        let seen = server.seen();
        assert!(seen.len() == 1 && seen[0].starts_with("PUT /x ") && seen[0].ends_with(body), "{seen:?}");
        assert!(seen[0].contains(&format!("authorization: Bearer {SECRET}")), "{seen:?}");
        assert_eq!(seen[0].contains("content-length: 11"), length.is_some());
    }
}

#[tokio::test]
async fn what_may_not_be_sent_may_not_be_uploaded() {
    let server = Server::saying(answer("no")).await;
    let mut call = Call::new(vec![server.origin()], vec![]);
    let with_body = Request { body: vec![Piece::Bytes(b"x".to_vec())], ..post(server.url("/")) };
    let table = [
        (post("https://other.example/".to_owned()), None, ErrorKind::Denied),
        (with_key(server.url("/"), Place::Bearer), None, ErrorKind::Denied),
        (with_body, None, ErrorKind::Invalid),
        (Request { headers: vec![("Content-Length".to_owned(), "1".to_owned())], ..post(server.url("/")) }, None, ErrorKind::Invalid),
        (post(server.url("/")), Some(limits::UPLOAD_BYTES + 1), ErrorKind::TooLarge),
    ];
    for (request, length, kind) in table {
        assert_eq!(call.open(request, length).await.unwrap_err().kind, kind);
    }
    assert!(server.seen().is_empty() && call.table.is_empty());
}

#[tokio::test]
async fn a_length_is_kept_to() {
    let server = Server::saying(answer("done")).await;
    let mut call = Call::new(vec![server.origin()], vec![]);
    let upload = call.open(post(server.url("/")), Some(4)).await.unwrap();
    call.write(&upload, b"abc").await.unwrap();
    assert_eq!(call.write(&upload, b"de").await.unwrap_err().kind, ErrorKind::TooLarge);
    let (kind, message) = call.finish(upload).await.map(drop).map_err(|error| (error.kind, error.message)).unwrap_err();
    assert_eq!((kind, message.starts_with("1 bytes of the announced length")), (ErrorKind::Invalid, true), "{message}");
    assert!(call.table.is_empty() && call.http.open == 0);
}

#[tokio::test]
async fn a_server_that_does_not_read_holds_the_writer_up() {
    let (listener, url) = deaf().await;
    let mut call = Call::new(vec![OriginGrant::parse(&url, NamedBy::Operator).unwrap()], vec![]);
    let slow = Some(Timeouts { connect: 100, idle: 100, total: 10_000 });
    let upload = call.open(Request { timeouts: slow, ..post(url) }, None).await.unwrap();
    let megabyte = vec![0; 1 << 20];
    let mut written = 0;
    let refused = loop {
        match call.write(&upload, &megabyte).await {
            Ok(()) => written += 1,
            Err(refused) => break refused,
        }
        assert!(written < 64, "nothing holds it up");
    };
    assert_eq!((refused.kind, refused.message.as_str()), (ErrorKind::Timeout, "the server was silent for 100 ms"));
    drop(listener);
}

#[tokio::test]
async fn a_stop_ends_a_write_that_waits() {
    let (_listener, url) = deaf().await;
    let mut call = Call::new(vec![OriginGrant::parse(&url, NamedBy::Operator).unwrap()], vec![]);
    let upload = call.open(post(url), None).await.unwrap();
    let Call { http, table, stop } = &mut call;
    let mut view = HttpView { http, table };
    let (refused, ()) = tokio::join!(HostUpload::write(&mut view, Resource::new_borrow(upload.rep()), vec![0; 64 << 20]), async {
        while !stop.is_waiting() {
            tokio::task::yield_now().await;
        }
        stop.stop(Duration::from_secs(1));
    });
    assert_eq!(refused.unwrap().unwrap_err().kind, ErrorKind::Cancelled);
}

#[tokio::test]
async fn an_upload_that_is_given_up_never_looks_whole() {
    let server = Server::saying(answer("done")).await;
    let mut call = Call::new(vec![server.origin()], vec![]);
    let upload = call.open(post(server.url("/")), None).await.unwrap();
    for _ in 0..4 {
        call.write(&upload, b"half").await.unwrap();
    }
    HostUpload::drop(&mut call.view(), upload).await.unwrap();
    let seen = loop {
        match server.seen().pop() {
            Some(seen) => break seen,
            None => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert!(seen.contains("transfer-encoding: chunked") && !seen.ends_with("0\r\n\r\n"), "{seen}");
    assert_eq!(call.http.open, 0);
}

#[tokio::test]
async fn an_answer_that_comes_early_is_told_and_can_be_read() {
    let (listener, url) = deaf().await;
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.read_u8().await.unwrap();
        socket.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 4\r\n\r\nfull").await.unwrap();
        socket
    });
    let mut call = Call::new(vec![OriginGrant::parse(&url, NamedBy::Operator).unwrap()], vec![]);
    let upload = call.open(post(url), None).await.unwrap();
    let refused = loop {
        if let Err(refused) = call.write(&upload, &vec![0; 1 << 20]).await {
            break refused;
        }
    };
    assert_eq!(refused.kind, ErrorKind::Conflict, "{}", refused.message);
    assert_eq!(call.write(&upload, b"more").await.unwrap_err().kind, ErrorKind::Conflict);
    let response = call.finish(upload).await.unwrap();
    assert_eq!(call.view().status(handle(&response)).await.unwrap(), 413);
    assert_eq!(call.all(&response).await.unwrap(), "full");
    drop(server);
}

#[tokio::test]
async fn uploads_and_responses_share_one_bound() {
    let server = Server::saying(answer("done")).await;
    let mut call = Call::new(vec![server.origin()], vec![]);
    let mut open = Vec::new();
    for _ in 0..limits::OPEN_RESPONSES {
        open.push(call.open(post(server.url("/")), Some(0)).await.unwrap());
    }
    assert_eq!(call.open(post(server.url("/")), None).await.unwrap_err().kind, ErrorKind::Unavailable);
    let response = call.finish(open.remove(0)).await.unwrap();
    assert_eq!(call.refusal(get(server.url("/"))).await.0, ErrorKind::Unavailable, "its answer has the place of the upload");
    HostResponse::drop(&mut call.view(), response).await.unwrap();
    call.send(get(server.url("/"))).await.unwrap();
}
