//! Login with Amazon: an account's consent, and the refresh token that it gives.
//!
//! ```text
//! ConsentRequest ─▶ url: a browser ─▶ redirect: read_redirect ─▶ code: exchange ─▶ GrantedTokens
//! ```
//!
//! The authorization code grant with PKCE, which Amazon recommends. Source: "Authorization Code
//! Grant". The crate `oauth2` makes the requests, and this crate's HTTP client sends them.

use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointNotSet,
    EndpointSet, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, TokenResponse as _, TokenUrl, basic::BasicClient,
};
use reqwest::{Client, Request, RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::{
    advice::{Explanation, ShownCause},
    body,
    error::AlexaError,
    http::{self, HttpAnswer},
    login::{self, TOKEN_CALL, TokenAnswer},
    operation::GrantKind,
    retry::CallRetryPolicy,
    secrets,
    settings::AlexaSettings,
};

/// The scope of all management APIs of Alexa Smart Properties.
pub const MANAGEMENT_SCOPE: &str = "alexa::enterprise:management";

/// The scope that tells the account's id, and no more of its profile.
pub const USER_ID_SCOPE: &str = "profile:user_id";

/// The client of the crate, with the endpoints that this grant needs.
type GrantClient =
    BasicClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// What consent is asked for, on behalf of which client.
#[derive(Debug, Clone)]
pub struct ConsentSettings {
    /// The page where the account consents.
    pub authorization_url: Url,
    /// Where Login with Amazon sends the browser afterwards: exactly as it is registered.
    pub redirect_url: String,
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: SecretString,
    /// The scopes.
    pub scopes: Vec<String>,
}

/// A request for consent, which is answered once.
pub struct ConsentRequest {
    http: Client,
    retry: CallRetryPolicy,
    oauth: GrantClient,
    url: Url,
    state: CsrfToken,
    verifier: PkceCodeVerifier,
}

/// A code that can be exchanged for tokens, once and within some minutes.
#[derive(Debug)]
pub struct ConsentCode(SecretString);

/// The tokens that a consent gives.
#[derive(Debug)]
pub struct GrantedTokens {
    /// The refresh token.
    pub refresh_token: SecretString,
    /// The scopes, if Login with Amazon says which.
    pub scopes: Option<Vec<String>>,
}

/// The browser came back without a code.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// The account declined.
    #[error("consent was declined at Login with Amazon (access_denied)")]
    Declined,
    /// Login with Amazon did not even ask.
    #[error("Login with Amazon did not ask for consent ({code}): {description}")]
    Refused {
        /// The OAuth error code.
        code: String,
        /// Amazon's description.
        description: String,
    },
    /// The answer belongs to another request, or was made up.
    #[error("the answer does not belong to this login: its state is another one")]
    OtherState,
    /// There is neither a code nor an error.
    #[error("the address has no code of Login with Amazon")]
    NoCode,
}

impl ConsentRequest {
    /// Prepares a request, with a random state and a random code verifier.
    ///
    /// # Errors
    ///
    /// If a URL is not usable, or the HTTP client cannot be set up.
    pub fn new(settings: &AlexaSettings, consent: ConsentSettings) -> Result<Self, AlexaError> {
        http::require_tls("--lwa-url (ASPCTL_LWA_URL)", &settings.login_url)?;
        http::require_tls(
            "--authorization-url (ASPCTL_AUTHORIZATION_URL)",
            &consent.authorization_url,
        )?;
        let http = http::http_client(settings.root_certificates.as_deref())?;
        let retry = CallRetryPolicy::new(settings.backoff, settings.observer.clone());
        let redirect_url = RedirectUrl::new(consent.redirect_url)
            .map_err(|_| AlexaError::Setup(ShownCause("the return URL is not a URL".to_owned())))?;
        let client_secret = consent.client_secret.expose_secret().to_owned();
        let oauth = BasicClient::new(ClientId::new(consent.client_id))
            .set_client_secret(ClientSecret::new(client_secret))
            .set_auth_uri(AuthUrl::from_url(consent.authorization_url))
            .set_token_uri(TokenUrl::from_url(settings.login_url.clone()))
            .set_redirect_uri(redirect_url)
            .set_auth_type(AuthType::RequestBody);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        secrets::remember(&verifier.secret().as_str().into());
        let request = oauth.authorize_url(CsrfToken::new_random);
        let scopes = consent.scopes.into_iter().map(Scope::new);
        let request = request.add_scopes(scopes).set_pkce_challenge(challenge);
        let (url, state) = request.url();
        Ok(Self {
            http,
            retry,
            oauth,
            url: with_plain_spaces(url),
            state,
            verifier,
        })
    }

    /// The page to open in a browser.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Reads the query of the address to which the browser was sent.
    ///
    /// # Errors
    ///
    /// If it has no code, or another state than this request.
    pub fn read_redirect(&self, query: &str) -> Result<ConsentCode, ConsentError> {
        let answer = RedirectAnswer::read(query);
        let is_own = answer.state.as_deref() == Some(self.state.secret());
        if let Some(code) = &answer.error {
            // A refusal may come without a state; it can do no harm.
            if !is_own && answer.state.is_some() {
                return Err(ConsentError::OtherState);
            }
            return Err(refusal(code, answer.description.as_deref()));
        }
        let Some(code) = answer.code else {
            return Err(ConsentError::NoCode);
        };
        if !is_own {
            return Err(ConsentError::OtherState);
        }
        secrets::remember(&code);
        Ok(ConsentCode(code))
    }

    /// Exchanges a code for tokens.
    ///
    /// # Errors
    ///
    /// If Login with Amazon rejects the code or the client, or returns no refresh token.
    pub async fn exchange(&self, code: &ConsentCode) -> Result<GrantedTokens, AlexaError> {
        tracing::debug!("POST {} with a code", self.oauth.token_uri().as_str());
        let exchange = async || self.exchange_once(code).await;
        self.retry.run(TOKEN_CALL, exchange).await
    }

    async fn exchange_once(&self, code: &ConsentCode) -> Result<GrantedTokens, AlexaError> {
        let code = AuthorizationCode::new(code.0.expose_secret().to_owned());
        let verifier = PkceCodeVerifier::new(self.verifier.secret().clone());
        let request = self.oauth.exchange_code(code).set_pkce_verifier(verifier);
        let send = |request| send(self.http.clone(), request);
        let tokens = request.request_async(&send).await.map_err(call_error)?;
        let Some(refresh_token) = tokens.refresh_token() else {
            return Err(AlexaError::NoRefreshToken);
        };
        let scopes = tokens.scopes();
        let scopes = scopes.map(|scopes| scopes.iter().map(|scope| scope.to_string()).collect());
        Ok(GrantedTokens {
            refresh_token: refresh_token.secret().as_str().into(),
            scopes,
        })
    }
}

impl ConsentError {
    /// What went wrong, and what to do about it.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let advice = match self {
            Self::Declined => {
                "Run the command again, sign in with the account that operates your properties, \
                 and accept"
            }
            Self::Refused { code, .. } => refusal_advice(code),
            Self::OtherState => {
                "Use the page that this run opened: one of an earlier login does not count"
            }
            Self::NoCode => {
                "Copy the whole address to which the browser was sent: it begins with the return \
                 URL and has code= and state="
            }
        };
        Explanation::of(self).advise(advice)
    }
}

/// What a redirect carries. Source: "Authorization Code Grant", and RFC 6749 for the errors.
#[derive(Default)]
struct RedirectAnswer {
    code: Option<SecretString>,
    state: Option<String>,
    error: Option<String>,
    description: Option<String>,
}

impl RedirectAnswer {
    fn read(query: &str) -> Self {
        let mut answer = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            match &*name {
                "code" => answer.code = Some(value.into_owned().into()),
                "state" => answer.state = Some(value.into_owned()),
                "error" => answer.error = Some(value.into_owned()),
                "error_description" => answer.description = Some(value.into_owned()),
                _ => {}
            }
        }
        answer
    }
}

fn refusal(code: &str, description: Option<&str>) -> ConsentError {
    if code == "access_denied" {
        return ConsentError::Declined;
    }
    let description = description.unwrap_or("no reason given");
    ConsentError::Refused {
        code: body::shortened(code),
        description: body::shortened(description.trim_end_matches('.')),
    }
}

fn refusal_advice(code: &str) -> &'static str {
    match code {
        "invalid_scope" => {
            "Check --scope, and that the security profile has a Consent Privacy Notice URL, which \
             some scopes require"
        }
        "invalid_request" | "unauthorized_client" => {
            "Check the client id, and that the return URL is among the Allowed Return URLs of its \
             security profile, exactly as it is shown"
        }
        "server_error" | "temporarily_unavailable" => "Run the command again in a few minutes",
        _ => "Check the settings of the security profile",
    }
}

/// Writes spaces between scopes as Amazon's examples do, which some parsers need.
fn with_plain_spaces(mut url: Url) -> Url {
    // A plus sign of a value is encoded; what is left are spaces.
    let query = url.query().map(|query| query.replace('+', "%20"));
    url.set_query(query.as_deref());
    url
}

/// Sends a request of the crate `oauth2`. Errors are read here, where nothing is quoted that may
/// hold a secret; it sees only tokens, in the form that it expects.
async fn send(http: Client, request: HttpRequest) -> Result<HttpResponse, AlexaError> {
    let request = Request::try_from(request).map_err(|error| AlexaError::setup(&error))?;
    let request = RequestBuilder::from_parts(http, request);
    let answer = HttpAnswer::receive(TOKEN_CALL, request).await?;
    tracing::debug!("{}", answer.status);
    let tokens = login::read_answer(answer, GrantKind::Code)?;
    Ok(HttpResponse::new(standard_form(&tokens).into_bytes()))
}

fn standard_form(tokens: &TokenAnswer) -> String {
    let refresh_token = tokens.refresh_token.as_ref();
    let scopes = tokens.scopes();
    let form = json!({
        "access_token": tokens.access_token.expose_secret(),
        "token_type": "bearer",
        "refresh_token": refresh_token.map(ExposeSecret::expose_secret),
        "scope": scopes.map(|scopes| scopes.join(" ")),
    });
    form.to_string()
}

/// Takes the error out of that of the crate, whose other kinds could quote a response.
fn call_error<T: oauth2::ErrorResponse>(error: RequestTokenError<AlexaError, T>) -> AlexaError {
    match error {
        RequestTokenError::Request(error) => error,
        _ => AlexaError::Unreadable {
            call: TOKEN_CALL.to_owned(),
            missing: "access_token",
        },
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    fn request() -> ConsentRequest {
        let url = |text: &str| Url::parse(text).unwrap();
        let settings = AlexaSettings {
            api_url: url("https://api.amazonalexa.com"),
            login_url: url("https://api.amazon.com/auth/o2/token"),
            backoff: Duration::from_millis(1),
            parallel: 1,
            root_certificates: None,
            observer: Arc::new(|_| {}),
        };
        let consent = ConsentSettings {
            authorization_url: url("https://www.amazon.com/ap/oa"),
            redirect_url: "http://127.0.0.1:9090/cb".to_owned(),
            client_id: "amzn1.application-oa2-client.EXAMPLE".to_owned(),
            client_secret: "consent-test-secret".into(),
            scopes: vec![MANAGEMENT_SCOPE.to_owned(), USER_ID_SCOPE.to_owned()],
        };
        ConsentRequest::new(&settings, consent).unwrap()
    }

    fn parameter(url: &Url, name: &str) -> String {
        let mut pairs = url.query_pairs();
        let (_, value) = pairs.find(|(key, _)| key == name).unwrap();
        value.into_owned()
    }

    #[test]
    fn the_address_has_all_that_amazon_documents_and_no_secret() {
        let (first, second) = (request(), request());
        let url = first.url();
        for (name, value) in [
            ("client_id", "amzn1.application-oa2-client.EXAMPLE"),
            ("scope", "alexa::enterprise:management profile:user_id"),
            ("response_type", "code"),
            ("redirect_uri", "http://127.0.0.1:9090/cb"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(parameter(url, name), value);
        }
        assert!(url.as_str().contains("management%20profile"), "{url}");
        for random in ["state", "code_challenge"] {
            let value = parameter(url, random);
            assert!(value.len() >= 22, "{value}");
            assert_ne!(value, parameter(second.url(), random));
        }
        assert!(!url.as_str().contains(first.verifier.secret().as_str()));
        assert!(!url.as_str().contains("consent-test-secret"));
    }

    #[test]
    fn only_an_answer_with_the_own_state_counts() {
        let request = request();
        let state = parameter(request.url(), "state");
        let read = |query: String| match request.read_redirect(&query) {
            Ok(code) => code.0.expose_secret().to_owned(),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(
            read(format!("state={state}&scope=b+a&code=a%2Fb%2B")),
            "a/b+"
        );
        for query in [
            "code=consent-code",
            "code=consent-code&state=other",
            "code=c&state=",
        ] {
            assert_eq!(read(query.to_owned()), "OtherState", "{query}");
        }
        for query in ["", "state", "code=&state=x", "scope=profile"] {
            assert_eq!(read(query.to_owned()), "NoCode", "{query}");
        }
        assert_eq!(
            read(format!("error=access_denied&state={state}")),
            "Declined"
        );
        assert_eq!(read("error=access_denied".to_owned()), "Declined");
        assert_eq!(
            read("error=access_denied&state=other".to_owned()),
            "OtherState"
        );
        // An error decides, whatever else there is.
        assert_eq!(
            read(format!("error=access_denied&code=c&state={state}")),
            "Declined"
        );
    }

    #[test]
    fn a_refusal_is_explained_without_the_code() {
        let request = request();
        let state = parameter(request.url(), "state");
        let query = format!(
            "error=invalid_scope&error_description=An+unknown+scope+was+requested.&state={state}"
        );
        let error = request.read_redirect(&query).unwrap_err();
        let text = error.explain().to_string();
        assert!(
            text.contains("(invalid_scope): An unknown scope was requested. Check"),
            "{text}"
        );
        let code = request.read_redirect(&format!("code=consent-code-1&state={state}"));
        let shown = format!("{:?} {}", code.unwrap(), secrets::redact("consent-code-1"));
        assert!(!shown.contains("consent-code-1"), "{shown}");
    }

    #[test]
    fn the_scopes_of_a_response_may_have_any_form() {
        let scopes = |scope: serde_json::Value| {
            let answer = json!({ "access_token": "t", "scope": scope });
            let answer: TokenAnswer = serde_json::from_value(answer).unwrap();
            answer.scopes()
        };
        let both = Some(vec!["b:c".to_owned(), "a".to_owned()]);
        for shown in [
            json!("b:c a"),
            json!("b:c,a"),
            json!(" b:c  a "),
            json!(["b:c", "a"]),
        ] {
            assert_eq!(scopes(shown), both);
        }
        for none in [json!(null), json!(""), json!(5), json!([])] {
            assert_eq!(scopes(none), None);
        }
    }
}
