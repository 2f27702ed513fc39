//! The input of a trainer, and how much of it it has read.

use tokio::{
    io::AsyncWriteExt,
    process::ChildStdin,
    sync::{mpsc, oneshot},
};

use trainer_protocol::ToTrainer;

/// Writes until the trainer's input ends or is no longer read; returns how many requests to train it has read.
pub(super) async fn write_lines(
    stdin: ChildStdin,
    lines: mpsc::Receiver<ToTrainer>,
    ready: oneshot::Receiver<()>,
    ended: oneshot::Receiver<()>,
) -> u32 {
    let mut input = TrainerInput { pipe: stdin, written: 0, trains: 0, last_train_until: 0 };
    tokio::select! {
        biased;
        _ = ended => {}
        () = input.write(lines, ready) => {}
    }
    input.trains_heard()
}

/// The pipe that a trainer reads, and what was written into it.
struct TrainerInput {
    pipe: ChildStdin,
    written: u64,
    /// Requests to train.
    trains: u32,
    /// Where the last of them ends, in bytes.
    last_train_until: u64,
}

impl TrainerInput {
    /// Writes nothing before the trainer is ready: if it ends before, its jobs cannot be the cause.
    async fn write(&mut self, mut lines: mpsc::Receiver<ToTrainer>, ready: oneshot::Receiver<()>) {
        if ready.await.is_err() {
            return;
        }
        while let Some(message) = lines.recv().await {
            let Ok(mut line) = serde_json::to_vec(&message) else { continue };
            line.push(b'\n');
            let mut rest = line.as_slice();
            while !rest.is_empty() {
                // The trainer closed its input: its end or its silence will be noticed.
                let Ok(bytes @ 1..) = self.pipe.write(rest).await else { return };
                self.written += bytes as u64;
                rest = &rest[bytes..];
            }
            if matches!(message, ToTrainer::Train { .. }) {
                self.trains += 1;
                self.last_train_until = self.written;
            }
        }
    }

    /// How many requests to train were read completely. Only the last one can be unread: the next one is sent when all
    /// of its jobs have ended.
    fn trains_heard(&self) -> u32 {
        // A pipe keeps unread bytes when its reader is gone.
        let unread = rustix::io::ioctl_fionread(&self.pipe).unwrap_or_default();
        let is_left = self.last_train_until > self.written.saturating_sub(unread);
        self.trains - u32::from(self.trains > 0 && is_left)
    }
}
