//! The meaning of libtorch's errors, which are only text.

use tch::TchError;

/// libtorch's message without the C++ stack trace.
pub(super) fn first_line(error: &TchError) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Whether a CUDA device failed, for another reason than that its memory is full.
pub(super) fn is_device_lost(error: &TchError) -> bool {
    error.to_string().contains("CUDA error") && !is_out_of_memory(error)
}

/// Whether libtorch ran out of memory, on any device: the texts of its own allocators, C++'s, and those of NVIDIA's
/// libraries that allocate by themselves (`CUBLAS_STATUS_ALLOC_FAILED`, `CUDNN_STATUS_ALLOCATION_FAILED`).
pub(super) fn is_out_of_memory(error: &TchError) -> bool {
    let text = error.to_string();
    const WORDS: [&str; 6] = [
        "out of memory",
        "can't allocate memory",
        "bad_alloc",
        "STATUS_ALLOC_FAILED",
        "STATUS_ALLOCATION_FAILED",
        "unable to find an engine",
    ];
    WORDS.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_memory_is_distinguished_from_other_failures() {
        for (text, expected) in [
            ("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB", true),
            ("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported", true),
            (
                "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried",
                true,
            ),
            ("std::bad_alloc", true),
            ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", true),
            ("cuDNN error: CUDNN_STATUS_ALLOCATION_FAILED", true),
            ("CUDA error: an illegal memory access was encountered", false),
            ("Target 2 is out of bounds.", false),
        ] {
            assert_eq!(is_out_of_memory(&TchError::Torch(text.into())), expected, "{text}");
        }
    }
}
