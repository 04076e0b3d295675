//! An answer of a provider, and a call that it makes.

use serde_json::Value;

/// What a handler comes to: an answer, or the refusal that ended it early.
pub(crate) type Outcome = Result<Reply, Reply>;

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// A call that must go well first; what then is answered.
    pub(crate) handshake: Option<Box<Handshake>>,
}

/// A request that the provider sends, and how it goes on with its answer.
pub(crate) struct Handshake {
    pub(crate) send: Outgoing,
    pub(crate) finish: Finish,
}

pub(crate) type Finish = Box<dyn FnOnce(&mut crate::call::Call<'_>, &Answer) -> Reply + Send>;

/// A request to a subscriber's URL.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: &'static str,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What came back; status 0 is no answer at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), handshake: None }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self { body: body.to_string().into_bytes(), ..Self::empty(status) }
            .with("content-type", "application/json;charset=utf-8")
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self { body: body.as_bytes().to_vec(), ..Self::empty(status) }
            .with("content-type", "text/plain;charset=utf-8")
    }

    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// 200 with a JSON body.
pub(crate) fn ok(body: Value) -> Outcome {
    Ok(Reply::json(200, &body))
}

impl Outgoing {
    /// A JSON body, as it stands: its bytes are what is signed.
    pub(crate) fn json(url: &str, body: &Value) -> Self {
        Self {
            method: "POST",
            url: url.to_owned(),
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.to_string().into_bytes(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

impl Answer {
    pub(crate) fn good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
