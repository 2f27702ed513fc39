//! Requests that come when they should not, or are none.

use super::*;

#[test]
fn a_stop_for_a_job_that_has_ended_is_ignored() {
    let (events, _) = listen(&(stop("old") + &train(&["a"], &parameters())), 1);
    assert_eq!(outline(&events).last().unwrap(), "a Done");
}

#[test]
fn a_second_request_in_the_middle_of_a_job_is_refused() {
    let request = train(&["a"], &parameters());
    let (_, end) = listen(&(request.clone() + &request), 2);
    assert!(matches!(end, Err(SessionError::Busy)));
}

#[test]
fn what_is_no_request_ends_the_session() {
    for (input, message) in [
        ("{}\n".to_owned(), "not a request: missing field `type` at line 1 column 2"),
        ("train\n".to_owned(), "not a request: expected ident at line 1 column 3"),
        (format!("\"{}", " ".repeat(LINE_BYTES_MAX)), "a request of more than 1048576 bytes"),
    ] {
        let end = listen(&input, 1).1.unwrap_err().to_string();
        assert!(end.starts_with(message), "{end}");
    }
}

#[test]
fn more_requests_than_a_job_needs_are_refused() {
    let (sender, requests) = sync_channel(0);
    // A queue without room stands for one that is full: the first request finds none.
    let reader = std::thread::spawn(move || read_requests(stop("a").as_bytes(), &sender));
    assert!(matches!(requests.recv(), Ok(Err(SessionError::TooManyRequests)) | Ok(Ok(_))));
    reader.join().unwrap();
}

#[test]
fn the_end_of_input_is_distinguished_from_a_broken_one() {
    let (sender, _requests) = sync_channel(REQUESTS_WAITING_MAX);
    assert_eq!(read_requests(stop("a").as_bytes(), &sender), RequestsEnd::Closed);
    assert_eq!(read_requests(&b"?\n"[..], &sender), RequestsEnd::Broken);
}
