use Scope::{LinkLocal, Loopback, Private, Public, Unusable};

use super::*;

fn grant(text: &str) -> OriginGrant {
    OriginGrant::parse(text, NamedBy::Operator).unwrap()
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

const ADDRESSES: &[(&str, Scope)] = &[
    ("1.1.1.1", Public),
    ("8.8.8.8", Public),
    ("9.255.255.255", Public),
    ("11.0.0.0", Public),
    ("100.63.255.255", Public),
    ("100.128.0.0", Public),
    ("128.0.0.1", Public),
    ("169.253.255.255", Public),
    ("172.15.255.255", Public),
    ("172.32.0.0", Public),
    ("192.167.255.255", Public),
    ("192.169.0.0", Public),
    ("223.255.255.255", Public),
    ("10.0.0.0", Private),
    ("10.255.255.255", Private),
    ("172.16.0.1", Private),
    ("172.31.255.255", Private),
    ("192.168.0.1", Private),
    ("100.64.0.0", Private),
    ("100.100.100.199", Private),
    ("100.100.100.200", LinkLocal),
    ("100.127.255.255", Private),
    ("127.0.0.1", Loopback),
    ("127.1.2.3", Loopback),
    ("127.255.255.255", Loopback),
    ("169.254.0.0", LinkLocal),
    ("169.254.169.254", LinkLocal),
    ("168.63.129.15", Public),
    ("168.63.129.16", LinkLocal),
    ("0.0.0.0", Unusable),
    ("0.1.2.3", Unusable),
    ("192.0.0.1", Unusable),
    ("192.0.0.192", Unusable),
    ("192.0.2.1", Unusable),
    ("192.88.99.1", Unusable),
    ("198.18.0.1", Unusable),
    ("198.19.255.255", Unusable),
    ("198.51.100.1", Unusable),
    ("203.0.113.1", Unusable),
    ("224.0.0.1", Unusable),
    ("239.255.255.255", Unusable),
    ("240.0.0.1", Unusable),
    ("255.255.255.255", Unusable),
    ("::", Unusable),
    ("::1", Loopback),
    ("0:0:0:0:0:0:0:1", Loopback),
    ("2606:4700:4700::1111", Public),
    ("2a00:1450::1", Public),
    ("2001:4860:4860::8888", Public),
    ("fc00::1", Private),
    ("fd00:ec2::254", LinkLocal),
    ("fd00:ec2::23", LinkLocal),
    ("fd20:ce::254", LinkLocal),
    ("fd20:cf::254", Private),
    ("fd00:42::42", LinkLocal),
    ("fdff::1", Private),
    ("fe80::1", LinkLocal),
    ("febf::1", LinkLocal),
    ("fec0::1", Unusable),
    ("ff02::1", Unusable),
    ("2001:db8::1", Unusable),
    ("2001::1", Unusable),
    ("2001:10::1", Unusable),
    ("3fff::1", Unusable),
    ("100::1", Unusable),
    // IPv4 in IPv6: mapped, in both spellings and in full.
    ("::ffff:127.0.0.1", Loopback),
    ("::ffff:7f00:1", Loopback),
    ("0:0:0:0:0:ffff:7f00:0001", Loopback),
    ("::ffff:10.0.0.1", Private),
    ("::ffff:169.254.169.254", LinkLocal),
    ("::ffff:0.0.0.0", Unusable),
    ("::ffff:8.8.8.8", Public),
    // Compatible and translated.
    ("::127.0.0.1", Loopback),
    ("::10.0.0.1", Private),
    ("::0.0.0.2", Unusable),
    ("::ffff:0:127.0.0.1", Loopback),
    // NAT64.
    ("64:ff9b::127.0.0.1", Loopback),
    ("64:ff9b::a00:1", Private),
    ("64:ff9b::169.254.169.254", LinkLocal),
    ("64:ff9b::8.8.8.8", Public),
    ("64:ff9b:1::a00:1", LinkLocal),
    // 6to4.
    ("2002:7f00:1::1", Loopback),
    ("2002:a00:1::1", Private),
    ("2002:c0a8:101::", Private),
    ("2002:808:808::1", Public),
];

#[test]
fn addresses() {
    for (text, expected) in ADDRESSES {
        assert_eq!(scope(text.parse().unwrap()), *expected, "{text}");
    }
}

#[test]
fn hosts_in_every_notation_are_read_before_they_are_judged() {
    let loopback = [
        "http://127.0.0.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.0.0.1./",
        "http://%31%32%37.0.0.1/",
        "http://①②⑦.0.0.1/",
        "http://127。0。0。1/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[0:0:0:0:0:ffff:7f00:1]/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.localhost/",
    ];
    for text in loopback {
        assert!(is_loopback(&url(text).host().unwrap()), "{text}");
    }
    assert!(!is_loopback(&url("http://localhost.example.com/").host().unwrap()));
    for text in ["http://0xa9fea9fe/", "http://2852039166/", "http://0251.0376.0251.0376/", "http://169.254.43518/"] {
        let Some(Host::Ipv4(address)) = url(text).host() else { panic!("{text} is an address") };
        assert_eq!(scope(address.into()), Scope::LinkLocal, "{text}");
    }
    assert!(Url::parse("http://256.256.256.256/").is_err());
    assert!(Url::parse("http://127.0.0.1.5/").is_err());
}

#[test]
fn origins() {
    let table = [
        ("https://api.example.com", "https://api.example.com/v1/x?y", true),
        ("https://api.example.com", "https://API.example.com:443/", true),
        ("https://api.example.com", "https://api.example.com./", true),
        ("https://api.example.com", "http://api.example.com/", false),
        ("https://api.example.com", "https://api.example.com:8443/", false),
        ("https://api.example.com", "https://api.example.com.evil.net/", false),
        ("https://api.example.com", "https://evil.net/?https://api.example.com/", false),
        ("https://api.example.com", "https://api.example.com@evil.net/", false),
        ("https://api.example.com", "https://x.api.example.com/", false),
        ("https://api.example.com/v1", "https://api.example.com/v1", true),
        ("https://api.example.com/v1", "https://api.example.com/v1/models", true),
        ("https://api.example.com/v1/", "https://api.example.com/v1?x", true),
        ("https://api.example.com/v1", "https://api.example.com/v10", false),
        ("https://api.example.com/v1", "https://api.example.com/v1/../admin", false),
        ("https://api.example.com/v1", "https://api.example.com/v1/%2e%2e/admin", false),
        ("https://api.example.com/v1", "https://api.example.com/v1/..%2fadmin", false),
        ("https://api.example.com/v1", "https://api.example.com/v1/..;/admin", false),
        ("https://api.example.com/v1", "https://api.example.com/v1/..;a=b/admin", false),
        ("https://api.example.com/v1", "https://api.example.com/v1/..%3B/admin", false),
        ("https://api.example.com/v1", "https://api.example.com/v1/a;b..c/d", true),
        ("https://api.example.com/v1", "https://api.example.com/v1/..\\admin", false),
        ("https://api.example.com/v1", "https://api.example.com/v1/%252e%252e/x", false),
        ("http://127.0.0.1:8080", "http://2130706433:8080/", true),
        ("http://127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080/", false),
        ("http://127.0.0.1:8080", "http://localhost:8080/", false),
        ("http://[::1]:1", "http://[0:0:0:0:0:0:0:1]:1/", true),
    ];
    for (origin, text, expected) in table {
        assert_eq!(grant(origin).allows("GET", &url(text)), expected, "{origin} {text}");
    }
}

/// Texts that look as if they led to `granted.example`, or to nobody.
#[test]
fn an_address_is_judged_by_where_it_leads() {
    let origins = [grant("http://granted.example"), grant("http://93.184.215.14")];
    // Where the parser says that it leads; none where there is nowhere to go.
    let table = [
        ("http://granted.example@127.0.0.1/", Some("127.0.0.1")),
        ("http://granted.example:80@127.0.0.1/", Some("127.0.0.1")),
        ("http://granted.example%40127.0.0.1/", None),
        ("http://127.0.0.1\\@granted.example/", Some("127.0.0.1")),
        ("http://127.0.0.1#@granted.example/", Some("127.0.0.1")),
        ("http://127.0.0.1?@granted.example/", Some("127.0.0.1")),
        ("http:\\\\127.0.0.1/granted.example", Some("127.0.0.1")),
        ("http:127.0.0.1", Some("127.0.0.1")),
        ("http:///127.0.0.1/", Some("127.0.0.1")),
        ("http://127.0.0.1\t.granted.example/", Some("127.0.0.1.granted.example")),
        ("http://gran\nted.exam\rple.evil.example/", Some("granted.example.evil.example")),
        ("http://granted.example.evil.example/", Some("granted.example.evil.example")),
        ("http://evilgranted.example/", Some("evilgranted.example")),
        ("http://granted.example:8080/", Some("granted.example")),
        ("http://granted.example..evil.example/", Some("granted.example..evil.example")),
        ("http://granted.example\0.evil.example/", None),
        ("http://granted.example%00.evil.example/", None),
        ("http://granted.example%2f.evil.example/", None),
        ("http://granted.example%23.evil.example/", None),
        ("http://granted.example%0d%0a.evil.example/", None),
        ("http://granted\u{ad}.example.evil.example/", Some("granted.example.evil.example")),
        ("http://gr\u{430}nted.example/", Some("xn--grnted-4nf.example")),
        ("http://93.184.215.14.evil.example/", Some("93.184.215.14.evil.example")),
        ("http://93.184.215.14@127.0.0.1/", Some("127.0.0.1")),
        ("http://[::ffff:93.184.215.14]/", Some("[::ffff:5db8:d70e]")),
        ("http://[fe80::1%25eth0]/", None),
        ("http://[::1%lo]/", None),
        ("http://[::1]granted.example/", None),
        ("http://[127.0.0.1]/", None),
        ("http://127.0.0.1:80:80/", None),
        ("http://1.2.3.4.5/", None),
        ("http://0x1ffffffff/", None),
        ("http://4294967296/", None),
        ("http://08.0.0.1/", None),
        ("http:////", None),
    ];
    for (text, host) in table {
        let url = Url::parse(text);
        assert_eq!(url.as_ref().ok().and_then(Url::host_str), host, "{text}");
        assert!(!url.is_ok_and(|url| origins.iter().any(|origin| origin.allows("GET", &url))), "{text}");
    }
    // The same place in other words.
    for text in [
        "http://GRANTED.example./",
        "http://granted%2eexample/",
        "http://gran\u{ad}ted.example/",
        "http://0x5db8d70e/",
        "http://93.184.55054/",
    ] {
        assert!(origins.iter().any(|origin| origin.allows("GET", &url(text))), "{text}");
    }
}

#[test]
fn methods_narrow_an_origin() {
    let origin = grant("GET,HEAD https://api.example.com/v1");
    assert!(origin.allows("HEAD", &url("https://api.example.com/v1/x")));
    assert!(!origin.allows("POST", &url("https://api.example.com/v1/x")));
    assert!(origin.covers(&url("https://api.example.com/v1/x")));
}

#[test]
fn what_is_no_origin_says_why() {
    for text in ["api.example.com", "ftp://x", "https://u:p@x", "https://x?y", "https://x#y", "get https://x", "https://"] {
        let error = OriginError::to_string(&OriginGrant::parse(text, NamedBy::Operator).unwrap_err());
        assert!(error.contains("write https://host[:port][/path]"), "{error}");
    }
}

#[test]
fn only_the_operator_reaches_private_addresses() {
    let reach = |text: &str, named_by| OriginGrant::parse(text, named_by).unwrap().reach();
    let table = [
        ("https://x.example", NamedBy::Manifest, [true, false, false, false]),
        ("http://localhost", NamedBy::Manifest, [true, false, false, false]),
        ("http://10.0.0.1", NamedBy::Manifest, [true, false, false, false]),
        ("https://x.example", NamedBy::Operator, [true, false, false, false]),
        ("https://x.example", NamedBy::OperatorAsPrivate, [true, true, true, false]),
        ("http://10.0.0.1", NamedBy::Operator, [true, true, true, true]),
        ("http://localhost", NamedBy::Operator, [false, false, true, false]),
        ("http://localhost", NamedBy::OperatorAsPrivate, [false, false, true, false]),
        ("http://x.localhost.", NamedBy::OperatorAsPrivate, [false, false, true, false]),
    ];
    for (origin, named_by, expected) in table {
        let addresses = ["8.8.8.8", "10.0.0.1", "127.0.0.1", "169.254.169.254"];
        let got = addresses.map(|address| reach(origin, named_by).allows(address.parse().unwrap()));
        assert_eq!(got, expected, "{origin} {named_by:?}");
    }
    assert!(!reach("http://10.0.0.1", NamedBy::Operator).allows("0.0.0.0".parse().unwrap()));
}

/// Whatever range it is in, and however it is written: a name leads to public addresses, unless the operator says otherwise.
#[test]
fn a_name_reaches_public_addresses_alone() {
    for (text, scope) in ADDRESSES {
        let reaches = |named_by| {
            let origin = OriginGrant::parse("https://x.example", named_by).unwrap();
            origin.reach().allows(text.parse().unwrap())
        };
        for named_by in [NamedBy::Manifest, NamedBy::Operator] {
            assert_eq!(reaches(named_by), *scope == Public, "{text}");
        }
        assert_eq!(reaches(NamedBy::OperatorAsPrivate), matches!(scope, Public | Private | Loopback), "{text}");
    }
}

#[test]
fn what_is_unusual_about_an_origin_is_said() {
    for (text, inside, remarks) in [
        ("https://x.example", false, &[] as &[&str]),
        ("http://x.example", false, &["not encrypted"]),
        ("https://gr\u{430}nted.example", false, &["letters that may look like others"]),
        ("https://93.184.215.14", false, &["an address instead of a name"]),
        ("http://localhost:1", true, &["not encrypted", "this machine"]),
        ("https://a.localhost.", true, &["this machine"]),
        ("https://[::ffff:127.0.0.1]", true, &["this machine"]),
        ("https://192.168.1.1", true, &["an address of a private network"]),
        ("http://2852039166", true, &["not encrypted", "an address at which clouds answer with credentials"]),
        ("https://0.0.0.0", true, &["an address where nobody answers"]),
    ] {
        let origin = grant(text);
        assert_eq!((origin.is_inside(), origin.remarks().as_slice()), (inside, remarks), "{text}");
    }
    let private = OriginGrant::parse("https://x.example", NamedBy::OperatorAsPrivate).unwrap();
    assert_eq!((private.is_inside(), private.remarks()), (false, vec!["may lead into a private network"]));
}
