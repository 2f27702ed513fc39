//! A kept file as it comes from the coordinator: its first bytes, which say what it is, or all of it, checked against its hash.

use std::{fs::File, io::Write, path::Path};

use proto::v1;
use tempfile::NamedTempFile;
use terms::outputs::{BLOCK, OutputError, OutputIndex, index_length};
use tonic::Streaming;

use super::{
    super::{client::Target, failure::Failure},
    cannot,
};

/// See the module's description.
pub(super) struct Incoming<'a> {
    pub(super) target: &'a Target,
    pieces: Streaming<v1::ArtifactPiece>,
    pub(super) artifact: v1::Artifact,
    /// What has come and was not taken yet.
    ahead: Vec<u8>,
}

impl<'a> Incoming<'a> {
    /// The file of a job, or of the best one for 0, from `offset`.
    pub(super) async fn open(
        target: &'a Target,
        sweep_id: u64,
        job: u64,
        offset: u64,
    ) -> Result<Self, Failure> {
        let mut client = target.connect().await?;
        let request = v1::GetArtifactRequest { sweep_id, job, offset };
        let mut pieces = target.in_time(client.get_artifact(request)).await?.into_inner();
        let first = target.in_time(pieces.message()).await?;
        let artifact = first
            .and_then(|piece| piece.artifact)
            .ok_or_else(|| Failure::operation("the coordinator sent no weights; this is a bug"))?;
        Ok(Self { target, pieces, artifact, ahead: Vec::new() })
    }

    /// The list of the files in it, where it is an archive of files.
    pub(super) async fn index(&mut self) -> Result<Option<OutputIndex>, Failure> {
        if !self.has(BLOCK).await? {
            return Ok(None);
        }
        let Some(length) = index_length(&self.ahead) else { return Ok(None) };
        let end = BLOCK + usize::try_from(length).unwrap_or(usize::MAX - BLOCK);
        if !self.has(end).await? {
            return Err(self.corrupt(&"it ends within its list of files"));
        }
        let read = OutputIndex::read(&self.ahead[BLOCK..end])
            .and_then(|index| index.check_length(self.artifact.bytes).map(|()| index));
        read.map(Some).map_err(|error: OutputError| self.corrupt(&error))
    }

    /// All of it, as a file in `folder`. It was opened at its beginning.
    pub(super) async fn save(mut self, folder: &Path) -> Result<NamedTempFile, Failure> {
        let mut file = NamedTempFile::new_in(folder).map_err(cannot(folder))?;
        let (found, hash) = self.write(u64::MAX, file.as_file_mut(), folder).await?;
        let v1::Artifact { bytes, blake3, .. } = &self.artifact;
        if found != *bytes || hash.to_hex().as_str() != blake3 {
            return Err(self.corrupt(&format!("{found} of {bytes} bytes")));
        }
        Ok(file)
    }

    /// Writes what comes next, up to so many bytes; how many came, and their hash. `place` is for messages.
    pub(super) async fn write(
        &mut self,
        bytes_max: u64,
        file: &mut File,
        place: &Path,
    ) -> Result<(u64, blake3::Hash), Failure> {
        let (mut hasher, mut written) = (blake3::Hasher::new(), 0);
        loop {
            let left = usize::try_from(bytes_max - written).unwrap_or(usize::MAX);
            let piece: Vec<u8> = self.ahead.drain(..left.min(self.ahead.len())).collect();
            file.write_all(&piece).map_err(cannot(place))?;
            hasher.update(&piece);
            written += piece.len() as u64;
            if written == bytes_max || !self.receive().await? {
                return Ok((written, hasher.finalize()));
            }
        }
    }

    /// That it is not what it should be.
    pub(super) fn corrupt(&self, what: &dyn std::fmt::Display) -> Failure {
        Failure::operation(format!(
            "what is kept of job {} arrived corrupt ({what}); try again, and if it stays so, the file that the coordinator keeps is \
             corrupt",
            self.artifact.job
        ))
    }

    /// Waits until so many bytes are there; false where it ends before.
    async fn has(&mut self, bytes: usize) -> Result<bool, Failure> {
        while self.ahead.len() < bytes {
            if !self.receive().await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn receive(&mut self) -> Result<bool, Failure> {
        tokio::task::consume_budget().await;
        let Some(piece) = self.target.in_time(self.pieces.message()).await? else { return Ok(false) };
        self.ahead.extend(piece.data);
        Ok(true)
    }
}
