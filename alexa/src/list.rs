//! Reads lists page by page, with bounds for lists without an end. Source: "Pagination".

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::atomic::{AtomicBool, Ordering},
};

use reqwest::{StatusCode, Url};
use serde_json::Value;
use tokio::time::Instant;

use super::{
    call::{ApiCaller, ApiRequest},
    error::AlexaError,
    filter::SubscriptionFilter,
    notice::AlexaNotice,
    operation::{AlexaOperation, AlexaResourceKind},
    optional::{FieldAcceptance, OptionalField},
    resource,
};

/// The maximum page size.
const PAGE_SIZE: &str = "10";

/// The maximum number of pages.
const MAX_PAGES: usize = 10_000;

/// The maximum number of empty pages in a row.
const MAX_EMPTY_PAGES: usize = 100;

/// Reads lists, and remembers which parameters Alexa accepts.
#[derive(Debug, Default)]
pub(super) struct ListReader {
    page_size: OptionalField,
    is_filter_noted: AtomicBool,
}

/// The parameters of a list.
#[derive(Debug, Clone)]
struct ListQuery<'a> {
    kind: AlexaResourceKind,
    has_page_size: bool,
    filter: Vec<(&'static str, &'a str)>,
}

impl ListReader {
    /// Reads all pages of a list.
    pub(super) async fn read(
        &self,
        caller: &ApiCaller,
        kind: AlexaResourceKind,
        filter: &SubscriptionFilter,
    ) -> Result<Vec<Value>, AlexaError> {
        let wanted = ListQuery {
            kind,
            has_page_size: true,
            filter: filter.parameters(),
        };
        let mut told = Instant::now();
        let (query, mut page) = self.first_page(caller, wanted).await?;
        let mut list = PagedList::new(format!("GET /{}", kind.path()));
        while let Some(token) = list.add(page)? {
            if told.elapsed() >= caller.retry.quiet_time() {
                caller.retry.tell(&list.progress(kind));
                told = Instant::now();
            }
            page = query.page(caller, Some(&token)).await?;
        }
        Ok(list.items)
    }

    /// Whether Alexa accepts a filter. Reads one page.
    pub(super) async fn accepts_filter(
        &self,
        caller: &ApiCaller,
        kind: AlexaResourceKind,
        filter: &SubscriptionFilter,
    ) -> Result<bool, AlexaError> {
        let wanted = ListQuery {
            kind,
            has_page_size: true,
            filter: filter.parameters(),
        };
        let (accepted, _) = self.first_page(caller, wanted).await?;
        Ok(!accepted.filter.is_empty())
    }

    /// Reads the first page, if necessary without page size or filter. Returns it with the query
    /// that Alexa accepted. If it accepts none, the first response counts.
    async fn first_page<'a>(
        &self,
        caller: &ApiCaller,
        wanted: ListQuery<'a>,
    ) -> Result<(ListQuery<'a>, Value), AlexaError> {
        let acceptance = self.page_size.acceptance(wanted.kind).await;
        let mut refused = None;
        for query in wanted.variants(&acceptance) {
            match query.page(caller, None).await {
                Ok(page) => {
                    self.note_variant(caller, &wanted, &query, acceptance);
                    return Ok((query, page));
                }
                Err(error) if error.status() == Some(StatusCode::BAD_REQUEST) => {
                    refused.get_or_insert(error);
                }
                Err(error) if error.is_rejection() => return Err(refused.unwrap_or(error)),
                Err(error) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| AlexaError::Unreadable {
            call: format!("GET /{}", wanted.kind.path()),
            missing: "results",
        }))
    }

    /// Remembers and tells what Alexa did not accept.
    fn note_variant(
        &self,
        caller: &ApiCaller,
        wanted: &ListQuery<'_>,
        accepted: &ListQuery<'_>,
        acceptance: FieldAcceptance<'_>,
    ) {
        if let FieldAcceptance::Undecided(decision) = acceptance {
            decision.decide(accepted.has_page_size);
            if !accepted.has_page_size {
                caller.retry.tell(&AlexaNotice::WithoutPageSize);
            }
        }
        let is_unfiltered = accepted.filter.is_empty() && !wanted.filter.is_empty();
        if is_unfiltered && !self.is_filter_noted.swap(true, Ordering::Relaxed) {
            caller.retry.tell(&AlexaNotice::WithoutFilter);
        }
    }
}

impl<'a> ListQuery<'a> {
    /// The query, and what to try if Alexa refuses it: without page size unless it is known that
    /// Alexa accepts one, and without filter.
    fn variants(&self, page_size: &FieldAcceptance<'_>) -> Vec<ListQuery<'a>> {
        let sizes: &[bool] = match page_size {
            FieldAcceptance::Known(true) => &[true],
            FieldAcceptance::Known(false) => &[false],
            FieldAcceptance::Undecided(_) => &[true, false],
        };
        let mut filters = vec![self.filter.clone()];
        if !self.filter.is_empty() {
            filters.push(Vec::new());
        }
        let mut variants = Vec::new();
        for filter in filters {
            for &has_page_size in sizes {
                variants.push(ListQuery {
                    kind: self.kind,
                    has_page_size,
                    filter: filter.clone(),
                });
            }
        }
        variants
    }

    async fn page(&self, caller: &ApiCaller, token: Option<&str>) -> Result<Value, AlexaError> {
        let request = ApiRequest {
            operation: AlexaOperation::List(self.kind),
            url: self.url(caller.url_of(self.kind.path()), token),
            body: None,
        };
        Ok(caller.call(&request).await?.body)
    }

    fn url(&self, list: Url, token: Option<&str>) -> Url {
        let mut url = list;
        // Not escaped, unlike the other values.
        url.set_query(Some("owner=~caller"));
        let mut pairs = url.query_pairs_mut();
        if self.has_page_size {
            pairs.append_pair("maxResults", PAGE_SIZE);
        }
        pairs.extend_pairs(&self.filter);
        if let Some(token) = token {
            pairs.append_pair("nextToken", token);
        }
        drop(pairs);
        url
    }
}

/// The pages of a list so far.
#[derive(Debug)]
pub(super) struct PagedList {
    call: String,
    items: Vec<Value>,
    pages: usize,
    empty_pages: usize,
    tokens: HashSet<String>,
    /// Hashes of the pages that have items.
    contents: HashSet<u64>,
}

impl PagedList {
    pub(super) fn new(call: String) -> Self {
        Self {
            call,
            items: Vec::new(),
            pages: 0,
            empty_pages: 0,
            tokens: HashSet::new(),
            contents: HashSet::new(),
        }
    }

    /// How many pages there were so far, and how many items.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.pages, self.items.len())
    }

    /// The items so far.
    pub(super) fn into_items(self) -> Vec<Value> {
        self.items
    }

    fn progress(&self, kind: AlexaResourceKind) -> AlexaNotice {
        AlexaNotice::Page {
            noun: kind.noun(),
            pages: self.pages,
            items: self.items.len(),
        }
    }

    /// Adds a page. Returns the token of the next one.
    pub(super) fn add(&mut self, page: Value) -> Result<Option<String>, AlexaError> {
        let next = resource::next_token(&page);
        let unreadable = || AlexaError::Unreadable {
            call: self.call.clone(),
            missing: "results",
        };
        let items = resource::items(page).ok_or_else(unreadable)?;
        self.pages += 1;
        self.empty_pages = if items.is_empty() {
            self.empty_pages + 1
        } else {
            0
        };
        let is_repeated = !items.is_empty() && !self.contents.insert(hash(&items));
        self.items.extend(items);
        let Some(next) = next else { return Ok(None) };
        let bound = if is_repeated {
            format!("page {} repeats an earlier page", self.pages)
        } else if !self.tokens.insert(next.clone()) {
            format!("page {} repeats an earlier nextToken", self.pages)
        } else if self.empty_pages >= MAX_EMPTY_PAGES {
            format!("{MAX_EMPTY_PAGES} pages in a row were empty")
        } else if self.pages >= MAX_PAGES {
            format!("more than {MAX_PAGES} pages")
        } else {
            return Ok(Some(next));
        };
        Err(AlexaError::EndlessList {
            call: self.call.clone(),
            bound,
        })
    }
}

fn hash(items: &[Value]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for item in items {
        item.to_string().hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What `add` returns for pages, each with its items and token.
    fn bound_of(pages: impl IntoIterator<Item = (Value, String)>) -> String {
        let mut list = PagedList::new("GET /list".to_owned());
        for (results, token) in pages {
            if let Err(error) = list.add(json!({ "results": results, "nextToken": token })) {
                return error.explain().to_string();
            }
        }
        format!("{} items", list.items.len())
    }

    #[test]
    fn a_list_without_an_end_is_bounded() {
        let fresh = |number: usize| (json!([{ "id": number }]), number.to_string());
        let text = bound_of((1..).map(|number| (json!([{ "id": number }]), "t".to_owned())));
        assert!(
            text.contains("page 2 repeats an earlier nextToken"),
            "{text}"
        );
        let text = bound_of((0..).map(|number| (fresh(number % 3).0, number.to_string())));
        assert!(text.contains("page 4 repeats an earlier page"), "{text}");
        let text = bound_of((0..).map(|number| (json!([]), number.to_string())));
        assert!(text.contains("100 pages in a row were empty"), "{text}");
        let text = bound_of((0..).map(fresh));
        assert!(text.contains("more than 10000 pages"), "{text}");
        assert!(text.contains("please report it"), "{text}");
    }

    #[test]
    fn empty_pages_between_others_are_no_end() {
        let page = |number: usize| {
            let items = if number % 100 == 99 {
                json!([{ "id": number }])
            } else {
                json!([])
            };
            (items, number.to_string())
        };
        assert_eq!(bound_of((0..1000).map(page)), "10 items");
    }

    #[test]
    fn the_last_page_may_repeat() {
        let mut list = PagedList::new(String::new());
        assert!(
            list.add(json!({ "results": [1], "nextToken": "a" }))
                .is_ok()
        );
        assert_eq!(list.add(json!({ "results": [1] })).unwrap(), None);
    }

    #[test]
    fn a_query_names_the_caller_unescaped() {
        let query = ListQuery {
            kind: AlexaResourceKind::Subscription,
            has_page_size: true,
            filter: vec![("eventType.namespace", "A.B"), ("eventType.name", "C d")],
        };
        let list = Url::parse("https://host/list").unwrap();
        assert_eq!(
            query.url(list, Some("a+/=")).query().unwrap(),
            "owner=~caller&maxResults=10&eventType.namespace=A.B&eventType.name=C+d\
             &nextToken=a%2B%2F%3D"
        );
    }
}
