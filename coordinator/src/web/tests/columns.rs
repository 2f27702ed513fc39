//! The columns of jobs, as a page asks for them.

use super::*;

#[tokio::test]
async fn columns_that_a_page_has_are_not_sent_again() {
    let served = super::served(Identities::default()).await;
    let (status, headers, body) = served.ask(&Method::GET, "/api/v1/sweeps/1/columns", &[]).await;
    assert_eq!(status, StatusCode::OK);
    assert!(!to_bytes(body, usize::MAX).await.unwrap().is_empty());
    let tag = headers[header::ETAG].to_str().unwrap();
    let again = served.ask(&Method::GET, "/api/v1/sweeps/1/columns", &[("if-none-match", tag)]).await;
    assert_eq!(again.0, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn who_has_some_columns_is_sent_the_others_or_all_where_jobs_have_changed() {
    let served = super::served(Identities::default()).await;
    let ask = async |asked: &str| {
        let path = format!("/api/v1/sweeps/1/columns?{asked}");
        let (status, _, body) = served.ask(&Method::GET, &path, &[]).await;
        (status, to_bytes(body, usize::MAX).await.unwrap())
    };
    let head = async |asked: &str| {
        let (status, body) = ask(asked).await;
        assert_eq!(status, StatusCode::OK, "{asked}");
        let length = u32::from_le_bytes(body[..4].try_into().unwrap()) as usize;
        let head: Value = serde_json::from_slice(&body[4..4 + length]).unwrap();
        let names = head["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap());
        let (parameters, others): (Vec<&str>, Vec<&str>) =
            names.partition(|name| name.starts_with("parameter:"));
        (head["version"].as_str().unwrap().to_owned(), parameters.len(), others.len())
    };
    // Of a small sweep, all comes first.
    let (version, parameters, others) = head("coarse=true&first=true").await;
    assert!(parameters > 0 && others > 0);
    assert_eq!(head("").await, (version.clone(), parameters, others));
    assert_eq!(head(&format!("coarse=true&has={version}")).await, (version.clone(), parameters, 0));
    for asked in
        ["coarse=true&has=another", "coarse=true&knows=another", "coarse=true&first=true&knows=another"]
    {
        assert_eq!(head(asked).await, (version.clone(), parameters, others), "{asked}");
    }
    for asked in ["coarse=true", "coarse=true&first=true", "coarse=false"] {
        let (status, body) = ask(&format!("{asked}&knows={version}")).await;
        assert_eq!((status, body.len()), (StatusCode::NO_CONTENT, 0), "{asked}");
    }
    for (asked, says) in [
        ("first=true", "go with `coarse=true`"),
        ("has=1", "go with `coarse=true`"),
        ("coarse=true&first=true&has=1", "neither with `first`"),
        ("coarse=true&knows=1&has=1", "nor with `knows`"),
    ] {
        let (status, refused) = ask(asked).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{asked}");
        assert!(String::from_utf8_lossy(&refused).contains(says), "{refused:?}");
    }
}
