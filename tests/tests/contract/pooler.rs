//! A minimal pooler in transaction mode: every client's transactions run in one session of the server. It understands
//! just enough of PostgreSQL's protocol to see where a transaction ends.

use std::{io, path::PathBuf, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::Mutex,
};

/// A client's request for encryption, in place of its first message.
const ENCRYPTION_REQUEST: u32 = 80_877_103;
/// Version 3.0 of the protocol.
const PROTOCOL: u32 = 196_608;

/// Starts a pooler before the server whose socket is in `folder`; returns its port.
pub(super) async fn start(folder: PathBuf, database: &str) -> u16 {
    let mut server = UnixStream::connect(folder.join(".s.PGSQL.5432")).await.unwrap();
    let words = format!("user\0sweep\0database\0{database}\0\0");
    let mut hello = (words.len() as u32 + 8).to_be_bytes().to_vec();
    hello.extend(PROTOCOL.to_be_bytes());
    hello.extend(words.as_bytes());
    server.write_all(&hello).await.unwrap();
    while message(&mut server).await.unwrap()[0] != b'Z' {}
    let server = Arc::new(Mutex::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            // A client that leaves is not a failure.
            tokio::spawn(serve(client, Arc::clone(&server)));
        }
    });
    port
}

async fn serve(mut client: TcpStream, server: Arc<Mutex<UnixStream>>) -> io::Result<()> {
    loop {
        let length = client.read_u32().await?;
        let mut rest = vec![0; length as usize - 4];
        client.read_exact(&mut rest).await?;
        if rest[..4] != ENCRYPTION_REQUEST.to_be_bytes() {
            break;
        }
        client.write_all(b"N").await?;
    }
    // Let in; a key for cancelling; ready.
    client.write_all(b"R\0\0\0\x08\0\0\0\0K\0\0\0\x0c\0\0\0\x01\0\0\0\x01Z\0\0\0\x05I").await?;
    loop {
        let mut said = message(&mut client).await?;
        let mut server = server.lock().await;
        loop {
            if said[0] == b'X' {
                return Ok(());
            }
            let asks = said[0] == b'Q' || said[0] == b'S';
            server.write_all(&said).await?;
            if asks && answer(&mut server, &mut client).await? {
                break;
            }
            said = message(&mut client).await?;
        }
    }
}

/// Forwards an answer; returns whether no transaction is open after it.
async fn answer(server: &mut UnixStream, client: &mut TcpStream) -> io::Result<bool> {
    loop {
        let said = message(server).await?;
        client.write_all(&said).await?;
        if said[0] == b'Z' {
            return Ok(said[5] == b'I');
        }
    }
}

/// One message: its kind, its length, its content.
async fn message(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let kind = stream.read_u8().await?;
    let length = stream.read_u32().await?;
    let mut message = vec![kind];
    message.extend(length.to_be_bytes());
    message.resize(length as usize + 1, 0);
    stream.read_exact(&mut message[5..]).await?;
    Ok(message)
}
