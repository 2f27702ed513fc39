//! The files that the job of a program left: what is kept of it is an archive, whose beginning lists them.

use domain::record::WeightsFile;
use terms::{
    SweepId,
    outputs::{BLOCK, OutputIndex, index_length},
};

use super::{Api, ApiError, Download};

impl Api {
    /// What is kept of a job, and the list of the files that it left; none where what is kept is one file of weights.
    ///
    /// # Errors
    /// Nothing is kept of it, it cannot be read, or is damaged.
    pub async fn outputs(
        &self,
        sweep: SweepId,
        job: u64,
    ) -> Result<(WeightsFile, Option<OutputIndex>), ApiError> {
        let mut download = self.download(sweep, Some(job), 0).await?;
        let (file, mut begin) = (download.weights.file.clone(), Vec::new());
        if !has(&mut download, &mut begin, BLOCK).await? {
            return Ok((file, None));
        }
        let Some(length) = index_length(&begin) else { return Ok((file, None)) };
        let end = BLOCK + usize::try_from(length).unwrap_or(usize::MAX - BLOCK);
        let corrupt = |what: &dyn std::fmt::Display| {
            ApiError::Corrupt(format!("the archive that is kept of job {job} is corrupt ({what})"))
        };
        if !has(&mut download, &mut begin, end).await? {
            return Err(corrupt(&"it ends within its list of files"));
        }
        let read = OutputIndex::read(&begin[BLOCK..end]);
        let index = read.and_then(|index| index.check_length(file.bytes).map(|()| index));
        let index = index.map_err(|error| corrupt(&error))?;
        Ok((file, Some(index)))
    }
}

/// Reads until so many bytes are there; false where it ends before.
async fn has(download: &mut Download, read: &mut Vec<u8>, bytes: usize) -> Result<bool, ApiError> {
    while read.len() < bytes {
        let Some(piece) = download.next().await? else { return Ok(false) };
        read.extend(piece);
    }
    Ok(true)
}
