//! What is read of a trainer, where no real process would do so at the right moment.

use tokio::io::AsyncWriteExt;

use super::*;

fn reader(events: mpsc::Sender<(usize, TrainerEvent)>) -> Reader {
    let log = Log::new(Arc::default());
    let is_busy = Arc::default();
    Reader { slot: 0, events, log, gate: None, ready: None, weights: None, alive_at: None, is_busy }
}

#[tokio::test]
async fn a_trainer_is_heard_though_its_log_never_ends() {
    let (events, mut received) = mpsc::channel(8);
    let (_lives, ended) = oneshot::channel();
    let (mut answers, stdout) = tokio::io::duplex(1_000);
    answers.write_all(b"{\"type\":\"ready\",\"protocol\":1,\"device\":\"cpu\"}\n").await.unwrap();
    let read = tokio::spawn(reader(events).run(stdout, tokio::io::repeat(b'\n'), ended));
    let heard = async {
        loop {
            match received.recv().await.expect("it reads on").1 {
                TrainerEvent::Alive => {}
                event => return event,
            }
        }
    };
    let heard = tokio::time::timeout(Duration::from_secs(20), heard).await;
    read.abort();
    assert!(matches!(heard, Ok(TrainerEvent::Said { message: FromTrainer::Ready { .. }, .. })), "{heard:?}");
}
