//! What a provider's file says: its kinds of records, its routes, how it refuses, limits and calls back.

use crate::{
    call::Call,
    clock::Time,
    reply::{Outcome, Reply},
    webhooks::Webhooks,
};
use serde_json::json;

/// A provider. Everything in it is data, or a function without state: the state is the tenant's.
pub(crate) struct Provider {
    /// The first segment of its URLs.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What isn't verified and off unless a tenant's `settings` say true: the setting, and what it adds.
    pub(crate) switches: &'static [(&'static str, &'static str)],
    /// Names of the secrets that a tenant has, made when it is.
    pub(crate) credentials: &'static [&'static str],
    pub(crate) kinds: Vec<Kind>,
    pub(crate) routes: Vec<Route>,
    pub(crate) guard: fn(&Call<'_>) -> Result<(), Reply>,
    pub(crate) refuse: fn(Trouble, &str) -> Reply,
    pub(crate) limit: Option<Limit>,
    pub(crate) webhooks: Option<Webhooks>,
}

impl Provider {
    pub(crate) fn new(name: &'static str, title: &'static str) -> Self {
        Self {
            name,
            title,
            switches: &[],
            credentials: &[],
            kinds: Vec::new(),
            routes: Vec::new(),
            guard: |_| Ok(()),
            refuse: |trouble, words| Reply::json(trouble.status(), &json!({"error": words})),
            limit: None,
            webhooks: None,
        }
    }

    pub(crate) fn kind(&self, resource: &str) -> Option<&Kind> {
        self.kinds.iter().find(|kind| kind.resource == resource)
    }
}

/// A kind of record: which unified resource it shows as, and what it looks like here.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) resource: &'static str,
    /// The provider's word.
    pub(crate) word: &'static str,
    pub(crate) id: Id,
    /// Where the body has the id.
    pub(crate) id_at: &'static str,
    pub(crate) created: Option<(&'static str, Time)>,
    pub(crate) updated: Option<(&'static str, Time)>,
    /// A JSON text with `{n}` for the record's number and `{<resource>}` for the newest id of another kind, which is
    /// null where there is none; both within a text or as one.
    pub(crate) example: &'static str,
    /// The field (a path with dots) that a change without a body alters.
    pub(crate) touch: &'static str,
    /// The field (a path with dots) that holds the id of what a record stands in and goes with.
    pub(crate) parent: Option<&'static str>,
}

impl Kind {
    pub(crate) const fn new(
        resource: &'static str,
        word: &'static str,
        id: Id,
        example: &'static str,
    ) -> Self {
        Self {
            resource,
            word,
            id,
            id_at: "id",
            created: None,
            updated: None,
            example,
            touch: "name",
            parent: None,
        }
    }

    pub(crate) const fn id_at(mut self, field: &'static str) -> Self {
        self.id_at = field;
        self
    }

    pub(crate) const fn created(mut self, field: &'static str, time: Time) -> Self {
        self.created = Some((field, time));
        self
    }

    pub(crate) const fn updated(mut self, field: &'static str, time: Time) -> Self {
        self.updated = Some((field, time));
        self
    }

    pub(crate) const fn touch(mut self, field: &'static str) -> Self {
        self.touch = field;
        self
    }

    pub(crate) const fn parent(mut self, field: &'static str) -> Self {
        self.parent = Some(field);
        self
    }
}

/// The form of an id.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Id {
    /// A JSON number
    Number,
    /// Digits in a text
    Digits,
    /// Nineteen digits in a text: more than a double holds
    Digits19,
    Uuid,
    /// So many hex digits
    Hex(usize),
    /// A prefix, then letters and digits up to this length
    Text(&'static str, usize),
}

/// What a request is for: faults choose by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Token,
    List,
    Feed,
    Get,
    Subscribe,
    Other,
}

impl What {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::List => "list",
            Self::Feed => "feed",
            Self::Get => "get",
            Self::Subscribe => "subscribe",
            Self::Other => "other",
        }
    }
}

/// A request that a provider takes. A path's `{name}` is one segment; what is not declared is answered 400 and told.
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) what: What,
    /// The unified resource that it is about, or nothing.
    pub(crate) resource: &'static str,
    /// Query parameters; one that ends in `*` stands for all with that start.
    pub(crate) query: &'static [&'static str],
    /// Fields of a JSON or form body, or `*`.
    pub(crate) body: &'static [&'static str],
    /// No credentials asked.
    pub(crate) open: bool,
    /// The setting that it stands behind.
    pub(crate) switch: Option<&'static str>,
    /// A parameter or field, and the value that makes a request this route's: calls that share one path.
    pub(crate) when: Option<(&'static str, &'static str)>,
    pub(crate) run: fn(&mut Call<'_>) -> Outcome,
}

impl Route {
    const fn new(
        method: &'static str,
        path: &'static str,
        what: What,
        run: fn(&mut Call<'_>) -> Outcome,
    ) -> Self {
        Self {
            method,
            path,
            what,
            resource: "",
            query: &[],
            body: &[],
            open: false,
            switch: None,
            when: None,
            run,
        }
    }

    pub(crate) const fn of(mut self, resource: &'static str) -> Self {
        self.resource = resource;
        self
    }

    pub(crate) const fn query(mut self, names: &'static [&'static str]) -> Self {
        self.query = names;
        self
    }

    pub(crate) const fn body(mut self, names: &'static [&'static str]) -> Self {
        self.body = names;
        self
    }

    /// By POST.
    pub(crate) const fn posted(mut self) -> Self {
        self.method = "POST";
        self
    }

    pub(crate) const fn when(mut self, name: &'static str, value: &'static str) -> Self {
        self.when = Some((name, value));
        self
    }

    pub(crate) const fn behind(mut self, switch: &'static str) -> Self {
        self.switch = Some(switch);
        self
    }

    /// The path's holes, if it is this route's.
    pub(crate) fn matches(&self, path: &str) -> Option<Vec<(&'static str, String)>> {
        let mut holes = Vec::new();
        let (mut have, mut want) = (path.split('/'), self.path.split('/'));
        loop {
            match (want.next(), have.next()) {
                (None, None) => return Some(holes),
                (Some(want), Some(have)) => {
                    if let Some(name) = want.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                        holes.push((name, crate::call::decoded(have)));
                    } else if want != have {
                        return None;
                    }
                }
                _ => return None,
            }
        }
    }

    pub(crate) fn takes_query(&self, name: &str) -> bool {
        takes(self.query, name)
    }

    pub(crate) fn takes_field(&self, name: &str) -> bool {
        takes(self.body, name)
    }
}

fn takes(declared: &[&str], name: &str) -> bool {
    declared.iter().any(|d| d.strip_suffix('*').map_or(*d == name, |start| name.starts_with(start)))
}

pub(crate) const fn list(path: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Route {
    Route::new("GET", path, What::List, run)
}

pub(crate) const fn search(path: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Route {
    Route::new("POST", path, What::List, run)
}

pub(crate) const fn feed(path: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Route {
    Route::new("GET", path, What::Feed, run)
}

pub(crate) const fn get(path: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Route {
    Route::new("GET", path, What::Get, run)
}

pub(crate) const fn token(path: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Route {
    let mut route = Route::new("POST", path, What::Token, run);
    route.open = true;
    route.body = crate::auth::FIELDS;
    route
}

/// A consent page: it sends the browser on at once.
pub(crate) const fn authorize(path: &'static str) -> Route {
    let mut route = Route::new("GET", path, What::Token, crate::auth::authorize);
    route.open = true;
    route.query = &["*"];
    route
}

pub(crate) const fn subscribe(
    method: &'static str,
    path: &'static str,
    run: fn(&mut Call<'_>) -> Outcome,
) -> Route {
    Route::new(method, path, What::Subscribe, run)
}

pub(crate) const fn other(
    method: &'static str,
    path: &'static str,
    run: fn(&mut Call<'_>) -> Outcome,
) -> Route {
    Route::new(method, path, What::Other, run)
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Unauthorized,
    Forbidden,
    NotFound,
    BadRequest,
    Limited,
    Broken,
}

impl Trouble {
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::BadRequest => 400,
            Self::Limited => 429,
            Self::Broken => 500,
        }
    }
}

/// So many requests in a window that begins with its first.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) most: u64,
    pub(crate) seconds: i64,
    /// The headers of each answer.
    pub(crate) headers: fn(&Window) -> Vec<(&'static str, String)>,
    /// The headers beside them on a refusal.
    pub(crate) over: fn(&Window) -> Vec<(&'static str, String)>,
}

/// How a window stands after a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) most: u64,
    pub(crate) left: u64,
    /// When it ends, in seconds since 1970.
    pub(crate) reset: i64,
    /// Seconds until then, rounded up.
    pub(crate) wait: i64,
}
