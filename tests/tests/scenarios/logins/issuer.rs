//! An issuer of tokens: it says over HTTP who it is and which keys it has, and signs what a test wants.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use serde_json::{Value, json};

/// A key for tests alone, as none can be made here without another library.
const RSA: &[u8] = include_bytes!("rsa-for-tests.pk8");

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A key that signs tokens, and its name.
#[derive(Clone)]
pub(super) struct Signing {
    kid: String,
    key: Arc<Key>,
}

enum Key {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signing {
    fn new(kid: &str, key: Key) -> Self {
        Self { kid: kid.to_owned(), key: Arc::new(key) }
    }

    pub(super) fn rsa(kid: &str) -> Self {
        Self::new(kid, Key::Rsa(RsaKeyPair::from_pkcs8(RSA).unwrap()))
    }

    pub(super) fn ecdsa(kid: &str) -> Self {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random);
        Self::new(kid, Key::Ecdsa(key.unwrap()))
    }

    pub(super) fn ed25519(kid: &str) -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::new(kid, Key::Ed25519(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap()))
    }

    /// The same under another name.
    pub(super) fn named(&self, kid: &str) -> Self {
        Self { kid: kid.to_owned(), key: Arc::clone(&self.key) }
    }

    /// The public key as the issuer shows it.
    fn shown(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &*self.key {
            Key::Rsa(key) => {
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(key.public());
                let (n, e) = (text(&n), text(&e));
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": n, "e": e})
            }
            Key::Ecdsa(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "x": text(&point[1..33]), "y": text(&point[33..])})
            }
            Key::Ed25519(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": text(key.public_key().as_ref())})
            }
        }
    }

    /// A token with these claims.
    pub(super) fn token(&self, claims: &Value) -> String {
        let algorithm = match &*self.key {
            Key::Rsa(_) => "RS256",
            Key::Ecdsa(_) => "ES256",
            Key::Ed25519(_) => "EdDSA",
        };
        let said = said(&json!({"alg": algorithm, "typ": "JWT", "kid": self.kid}), claims);
        let random = SystemRandom::new();
        let signature = match &*self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, said.as_bytes(), &mut signature).unwrap();
                signature
            }
            Key::Ecdsa(key) => key.sign(&random, said.as_bytes()).unwrap().as_ref().to_vec(),
            Key::Ed25519(key) => key.sign(said.as_bytes()).as_ref().to_vec(),
        };
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token whose signature is made with the public key as if it were a shared secret.
    pub(super) fn forged(&self, claims: &Value) -> String {
        let said = said(&json!({"alg": "HS256", "typ": "JWT", "kid": self.kid}), claims);
        let shown = URL_SAFE_NO_PAD.decode(self.shown()["n"].as_str().unwrap()).unwrap();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &shown), said.as_bytes());
        format!("{said}.{}", URL_SAFE_NO_PAD.encode(tag))
    }
}

fn said(header: &Value, claims: &Value) -> String {
    let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", text(header), text(claims))
}

/// A token of these parts.
pub(super) fn token(header: &Value, claims: &Value, signature: &str) -> String {
    format!("{}.{signature}", said(header, claims))
}

/// How the issuer answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    Well,
    /// With a failure.
    Away,
    Huge,
    NoJson,
    OfAnother,
    KeysElsewhere,
}

struct State {
    keys: Vec<Value>,
    answers: Answers,
    /// How often it was asked who it is.
    asked: usize,
}

/// An issuer that answers until the test ends.
pub(super) struct Issuer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Issuer {
    pub(super) fn start(keys: &[Signing]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let keys = keys.iter().map(Signing::shown).collect();
        let state = Arc::new(Mutex::new(State { keys, answers: Answers::Well, asked: 0 }));
        let own = Arc::clone(&state);
        std::thread::spawn(move || {
            // A question that breaks off is the coordinator's matter.
            listener.incoming().flatten().for_each(|stream| drop(answer(stream, address, &own)));
        });
        Self { address, state }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// It has these keys from now on.
    pub(super) fn has(&self, keys: &[Signing]) {
        self.state.lock().unwrap().keys = keys.iter().map(Signing::shown).collect();
    }

    pub(super) fn answers(&self, answers: Answers) {
        self.state.lock().unwrap().answers = answers;
    }

    pub(super) fn goes_away(&self, is_away: bool) {
        self.answers(if is_away { Answers::Away } else { Answers::Well });
    }

    /// How often it was asked who it is.
    pub(super) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

fn answer(mut stream: TcpStream, address: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    let asked = read(&mut stream)?;
    let mut state = state.lock().unwrap();
    let is_first = asked.starts_with("GET /.well-known/openid-configuration ");
    state.asked += usize::from(is_first);
    let url = format!("http://{address}");
    let body = match (is_first, state.answers) {
        (_, Answers::Away) => None,
        (_, Answers::NoJson) => Some("<html>".to_owned()),
        (_, Answers::Huge) => Some(" ".repeat(2 << 20)),
        (true, Answers::OfAnother) => Some(json!({"issuer": "https://a", "jwks_uri": url}).to_string()),
        (true, Answers::KeysElsewhere) => {
            Some(json!({"issuer": url, "jwks_uri": "http://issuer.example/keys"}).to_string())
        }
        (true, _) => Some(json!({"issuer": url, "jwks_uri": format!("{url}/keys"), "other": []}).to_string()),
        (false, _) => Some(json!({"keys": state.keys}).to_string()),
    };
    let (status, body) = body.map_or(("503 Away", String::new()), |body| ("200 OK", body));
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// The head of what comes.
fn read(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            break;
        }
        head.extend_from_slice(&piece[..count]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// The status of a request with a token.
pub(super) fn status(address: SocketAddr, method: &str, path: &str, token: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let said = read(&mut stream).unwrap();
    said.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}
