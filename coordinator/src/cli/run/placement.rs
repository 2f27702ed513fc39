//! How the workers of one machine share it: each GPU goes to one worker if there are enough, and the cores are divided
//! evenly.

/// What one worker gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placement {
    /// Value of `--slots`.
    pub(super) slots: String,
    /// Its GPUs; none where it finds them by itself.
    pub(super) gpus: Vec<String>,
}

/// Divides `gpus` (named as in `CUDA_VISIBLE_DEVICES`), or else `cores`, among `workers`.
pub(super) fn place(workers: usize, gpus: &[String], cores: usize) -> Vec<Placement> {
    let worker = |index: usize| {
        if workers == 1 {
            return Placement { slots: "auto".to_owned(), gpus: Vec::new() };
        }
        if gpus.is_empty() {
            // The first workers take what is left over.
            let share = cores / workers + usize::from(index < cores % workers);
            return Placement { slots: share.max(1).to_string(), gpus: Vec::new() };
        }
        let own: Vec<_> = gpus.iter().skip(index).step_by(workers).cloned().collect();
        let own = if own.is_empty() { vec![gpus[index % gpus.len()].clone()] } else { own };
        Placement { slots: own.len().to_string(), gpus: own }
    };
    (0..workers).map(worker).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(workers: usize, gpus: &[&str], cores: usize) -> Vec<(String, String)> {
        let gpus: Vec<_> = gpus.iter().map(|gpu| (*gpu).to_owned()).collect();
        place(workers, &gpus, cores).into_iter().map(|p| (p.slots, p.gpus.join(","))).collect()
    }

    #[test]
    fn one_worker_finds_out_for_itself() {
        assert_eq!(placed(1, &["0", "1"], 8), [("auto".to_owned(), String::new())]);
    }

    #[test]
    fn cores_are_shared_evenly_and_each_worker_has_a_slot() {
        let slots =
            |workers, cores| placed(workers, &[], cores).into_iter().map(|(s, _)| s).collect::<Vec<_>>();
        assert_eq!(slots(2, 2), ["1", "1"]);
        assert_eq!(slots(3, 8), ["3", "3", "2"]);
        assert_eq!(slots(3, 2), ["1", "1", "1"]);
    }

    #[test]
    fn each_gpu_has_one_worker_where_there_are_enough() {
        let some = |slots: &str, gpus: &str| (slots.to_owned(), gpus.to_owned());
        assert_eq!(placed(2, &["0", "1", "2"], 8), [some("2", "0,2"), some("1", "1")]);
        assert_eq!(placed(3, &["4", "5"], 8), [some("1", "4"), some("1", "5"), some("1", "4")]);
    }
}
