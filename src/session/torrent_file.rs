//! Fetching a torrent file by its address: what `download URL` starts with.
//!
//! A facade over the HTTP client: bounds the length, wants status 200. What the bytes mean is for
//! [`crate::metainfo`].

use std::path::PathBuf;

use url::Url;

use crate::{
    base::limits::MAX_TORRENT_BYTES,
    net::{
        http::{Http, HttpConfig, HttpError, HttpSetupError, Route},
        outlet::Outlet,
        reach::Reach,
    },
};

/// Why there are no bytes.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No client.
    #[error(transparent)]
    Setup(#[from] HttpSetupError),
    /// No reply.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Some other reply than the file.
    #[error("the server answered with status {status}")]
    Status {
        /// The status code.
        status: u16,
    },
}

/// The bytes at `url`, at most [`MAX_TORRENT_BYTES`] of them, by way of `outlet`. Certificates in `ca_file` (PEM) are
/// trusted besides the usual ones. To be called inside a tokio runtime.
pub async fn fetch(
    url: &Url,
    outlet: &Outlet,
    ca_file: Option<PathBuf>,
) -> Result<Vec<u8>, FetchError> {
    let http = Http::new(&HttpConfig { ca_file, ..HttpConfig::new(outlet.clone()) })?;
    let reply = http.get(url, Route::Any, Reach::Anywhere, MAX_TORRENT_BYTES).await?;
    match reply.status {
        200 => Ok(reply.body),
        status => Err(FetchError::Status { status }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tracker_host::{TrackerConfig, TrackerHost};

    #[tokio::test]
    async fn only_status_200_is_the_file() {
        // Any HTTP server does; this one has statistics and nothing at other paths.
        let direct = Outlet::default();
        let listen = "127.0.0.1:0".parse().expect("valid");
        let host = TrackerHost::start(TrackerConfig::new(listen)).expect("listening");
        let url = |path| Url::parse(&format!("http://{}{path}", host.local_addr())).expect("valid");
        assert!(!fetch(&url("/stats"), &direct, None).await.expect("there").is_empty());
        let err = fetch(&url("/a.torrent"), &direct, None).await.expect_err("not there");
        assert_eq!(err.to_string(), "the server answered with status 404");
        let err =
            fetch(&url("/stats"), &direct, Some("/nonexistent".into())).await.expect_err("no CA");
        assert!(matches!(err, FetchError::Setup(_)));
        host.shutdown().await;
    }
}
