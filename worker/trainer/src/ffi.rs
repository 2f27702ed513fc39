//! The only unsafe code of the trainer: calls into `shim.cpp` and `layers.cpp`, loading CUDA at run time, a tensor over mapped
//! memory, and leaving the process at once. Each wrapper is safe to call from anywhere.

use std::ffi::{CStr, c_char, c_int};
use std::sync::Arc;

use dataset::PackedDataset;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Device, Kind, TchError, Tensor};

use super::{activation::Activation, layers::Layer};

/// libtorch's tensor; tch hands out pointers to it.
type RawTensor = *const torch_sys::C_tensor;

/// An activation that [`features`] knows, as `activation.h` numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum FusedActivation {
    Relu = 0,
    Sigmoid = 1,
}

impl FusedActivation {
    /// None of one that it does not know.
    pub(super) fn of(activation: Activation) -> Option<Self> {
        match activation {
            Activation::Relu => Some(Self::Relu),
            Activation::Sigmoid => Some(Self::Sigmoid),
            _ => None,
        }
    }
}

unsafe extern "C" {
    fn sweep_fused_adam(
        count: usize,
        parameters: *const RawTensor,
        gradients: *const RawTensor,
        first_moments: *const RawTensor,
        second_moments: *const RawTensor,
        step: RawTensor,
        learning_rate: f64,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
        weight_decay: f64,
        decoupled: bool,
    ) -> *mut c_char;
    fn sweep_fused_sgd(
        count: usize,
        parameters: *const RawTensor,
        gradients: *const RawTensor,
        velocities: *const RawTensor,
        learning_rate: f64,
        momentum: f64,
        weight_decay: f64,
    ) -> *mut c_char;
    fn sweep_set_deterministic() -> *mut c_char;
    fn sweep_empty_cuda_cache(device: c_int) -> *mut c_char;
    fn sweep_features(
        images: RawTensor,
        parameters: *const RawTensor,
        activation: FusedActivation,
        result: *mut *mut torch_sys::C_tensor,
    ) -> *mut c_char;
    fn sweep_dense(
        inputs: RawTensor,
        weight: RawTensor,
        bias: RawTensor,
        result: *mut *mut torch_sys::C_tensor,
    ) -> *mut c_char;
}

/// Converts the shim's answer to a result and frees its message.
fn shim_result(message: *mut c_char) -> Result<(), TchError> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a message that is not null is a terminated string from `strdup`, owned by the caller.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    // SAFETY: it came from malloc, is ours, and `text` is a copy.
    unsafe { libc::free(message.cast()) };
    Err(TchError::Torch(text))
}

/// Runs a C++ function that creates a tensor.
fn shim_tensor(make: impl FnOnce(*mut *mut torch_sys::C_tensor) -> *mut c_char) -> Result<Tensor, TchError> {
    let mut made = std::ptr::null_mut();
    shim_result(make(&raw mut made))?;
    if made.is_null() {
        // There was not even memory for the message.
        return Err(TchError::Torch("out of memory".into()));
    }
    // SAFETY: on success it has written a tensor from `new`, which no one else owns.
    Ok(unsafe { Tensor::from_ptr(made) })
}

/// Both convolutions on the CPU, each with 2×2 pooling and activation, flattened to `[N, features]`. `images` are
/// float32 or bfloat16, which is also the type of the computation; the parameters and their gradients are float32.
///
/// # Errors
/// What libtorch says, for instance about shapes that do not match.
pub(super) fn features(
    images: &Tensor,
    [first, second]: [Layer<'_>; 2],
    activation: FusedActivation,
) -> Result<Tensor, TchError> {
    let pointers = [first.weight, first.bias, second.weight, second.bias].map(Tensor::as_ptr);
    // SAFETY: the pointers are of tensors that are borrowed for the call; libtorch counts its own references.
    shim_tensor(|made| unsafe { sweep_features(images.as_ptr(), pointers.as_ptr(), activation, made) })
}

/// A linear layer on the CPU: `inputs` `[N, in]`, its weight `[out, in]`, its bias `[out]`, all float32.
///
/// # Errors
/// What libtorch says.
pub(super) fn dense(inputs: &Tensor, layer: Layer<'_>) -> Result<Tensor, TchError> {
    let Layer { weight, bias } = layer;
    // SAFETY: as in `features`.
    shim_tensor(|made| unsafe { sweep_dense(inputs.as_ptr(), weight.as_ptr(), bias.as_ptr(), made) })
}

/// How Adam moves parameters, its learning rate aside.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamSettings {
    /// Decay of the mean of the gradients.
    pub beta1: f64,
    /// Decay of the mean of the squared gradients.
    pub beta2: f64,
    /// Added to the divisor.
    pub epsilon: f64,
    /// How strongly parameters are drawn to 0.
    pub weight_decay: f64,
    /// Whether the decay shrinks the parameters themselves (AdamW) instead of entering the gradients (Adam).
    pub decoupled: bool,
}

/// The tensors that one fused Adam step reads and changes; the four slices are parallel.
pub(super) struct AdamTensors<'a> {
    pub(super) parameters: &'a [Tensor],
    pub(super) gradients: &'a [Tensor],
    pub(super) first_moments: &'a [Tensor],
    pub(super) second_moments: &'a [Tensor],
    /// One float on the parameters' device: the number of this step, from 1.
    pub(super) step: &'a Tensor,
}

/// Refuses lists of different lengths or shapes than the parameters, which libtorch's fused kernels do not check.
pub(crate) fn check_alike(parameters: &[Tensor], lists: &[&[Tensor]]) -> Result<(), TchError> {
    for list in lists {
        let alike = list.len() == parameters.len()
            && list.iter().zip(parameters).all(|(one, other)| one.size() == other.size());
        if !alike {
            return Err(TchError::Shape(
                "the optimiser's tensors do not match the parameters' shapes".into(),
            ));
        }
    }
    Ok(())
}

fn pointers(list: &[Tensor]) -> Vec<RawTensor> {
    list.iter().map(Tensor::as_ptr).map(|pointer| pointer as RawTensor).collect()
}

/// Performs one Adam step in place.
///
/// # Errors
/// What libtorch says, and slices of different lengths or shapes.
pub(super) fn fused_adam(
    tensors: &AdamTensors<'_>,
    settings: &AdamSettings,
    learning_rate: f64,
) -> Result<(), TchError> {
    let lists = [tensors.gradients, tensors.first_moments, tensors.second_moments];
    check_alike(tensors.parameters, &lists)?;
    let parameters = pointers(tensors.parameters);
    let [gradients, first_moments, second_moments] = lists.map(pointers);
    // SAFETY: each array holds `parameters.len()` pointers to tensors that the borrowed slices keep alive; their shapes
    // agree. The shim makes the gradients' layout agree and lets no exception out. libtorch synchronises nothing here,
    // but `Tensor` is not `Sync`, so no one else uses these handles.
    let message = unsafe {
        sweep_fused_adam(
            parameters.len(),
            parameters.as_ptr(),
            gradients.as_ptr(),
            first_moments.as_ptr(),
            second_moments.as_ptr(),
            tensors.step.as_ptr(),
            learning_rate,
            settings.beta1,
            settings.beta2,
            settings.epsilon,
            settings.weight_decay,
            settings.decoupled,
        )
    };
    shim_result(message)
}

/// Performs one step of stochastic gradient descent in place, with a momentum if there are velocities.
///
/// # Errors
/// What libtorch says, and slices of different lengths or shapes.
pub(super) fn fused_sgd(
    parameters: &[Tensor],
    gradients: &[Tensor],
    momentum: Option<(f64, &[Tensor])>,
    weight_decay: f64,
    learning_rate: f64,
) -> Result<(), TchError> {
    check_alike(parameters, &[gradients])?;
    let (momentum, velocities) = match momentum {
        None => (0.0, None),
        Some((momentum, velocities)) => {
            check_alike(parameters, &[velocities])?;
            (momentum, Some(pointers(velocities)))
        }
    };
    let [parameters, gradients] = [parameters, gradients].map(pointers);
    // SAFETY: as in `fused_adam`; velocities that are null are not read.
    let message = unsafe {
        sweep_fused_sgd(
            parameters.len(),
            parameters.as_ptr(),
            gradients.as_ptr(),
            velocities.as_ref().map_or(std::ptr::null(), |all| all.as_ptr()),
            learning_rate,
            momentum,
            weight_decay,
        )
    };
    shim_result(message)
}

/// Makes cuDNN and oneDNN use kernels that give the same bits in each run.
///
/// # Errors
/// What libtorch says.
pub(super) fn set_deterministic() -> Result<(), TchError> {
    // SAFETY: takes nothing, changes flags of libtorch's global context.
    shim_result(unsafe { sweep_set_deterministic() })
}

/// Returns cached memory that is not in use to the device.
///
/// # Errors
/// A CUDA device that has failed: it will do nothing more for this process.
pub(super) fn empty_cache(device: Device) -> Result<(), TchError> {
    if let Device::Cuda(index) = device {
        let index = c_int::try_from(index).unwrap_or(c_int::MAX);
        // SAFETY: takes a number, and lets no exception out; memory in use is not touched.
        return shim_result(unsafe { sweep_empty_cuda_cache(index) });
    }
    trim_heap();
    Ok(())
}

/// Undoes [`keep_freed_memory`] for what is free now.
#[cfg(target_env = "gnu")]
fn trim_heap() {
    // SAFETY: `malloc_trim` may be called at any time and does not touch memory in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries return memory by themselves.
#[cfg(not(target_env = "gnu"))]
fn trim_heap() {}

/// Loads libtorch's CUDA half for the rest of the process. Must come before the first call into tch, because libtorch
/// looks for CUDA once and remembers the result.
///
/// # Errors
/// The dynamic linker's message.
pub(super) fn load_cuda() -> Result<(), String> {
    // SAFETY: runs the library's initialisers, which register CUDA kernels with libtorch; it is never unloaded,
    // because unregistering at exit would race with its own threads.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
    std::mem::forget(library.map_err(|error| {
        // The linker's message is one level down.
        let said = std::error::Error::source(&error).map(ToString::to_string);
        format!("libtorch's CUDA half cannot be loaded ({})", said.unwrap_or_else(|| error.to_string()))
    })?);
    Ok(())
}

/// The driver's name for the CUDA device `index`, such as `NVIDIA H200`; none if the driver cannot tell.
pub(super) fn cuda_device_name(index: usize) -> Option<String> {
    type Initialise = unsafe extern "C" fn(flags: u32) -> c_int;
    type GetDevice = unsafe extern "C" fn(device: *mut c_int, ordinal: c_int) -> c_int;
    type GetName = unsafe extern "C" fn(name: *mut c_char, length: c_int, device: c_int) -> c_int;
    const NAME_BYTES_MAX: usize = 256;
    const SUCCESS: c_int = 0;

    let ordinal = c_int::try_from(index).ok()?;
    let mut name: [c_char; NAME_BYTES_MAX] = [0; NAME_BYTES_MAX];
    // SAFETY: the signatures are those of CUDA's driver API (cuda.h: cuInit, cuDeviceGet, cuDeviceGetName); the
    // out pointers are valid for the call and the name's length is passed with it.
    unsafe {
        let driver = Library::open(Some("libcuda.so.1"), RTLD_NOW).ok()?;
        let initialise = driver.get::<Initialise>(b"cuInit\0").ok()?;
        let get_device = driver.get::<GetDevice>(b"cuDeviceGet\0").ok()?;
        let get_name = driver.get::<GetName>(b"cuDeviceGetName\0").ok()?;
        let mut device = 0;
        let named = initialise(0) == SUCCESS
            && get_device(&raw mut device, ordinal) == SUCCESS
            && get_name(name.as_mut_ptr(), NAME_BYTES_MAX as c_int, device) == SUCCESS;
        // libtorch also uses the driver, so it must stay loaded.
        std::mem::forget(driver);
        if !named {
            return None;
        }
        name[NAME_BYTES_MAX - 1] = 0;
        Some(CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned())
    }
}

/// Makes malloc keep memory: by default, glibc maps each tensor of more than 32 MB separately and unmaps it when it is
/// freed, so that the kernel clears all its pages in every step. Keeping them makes a step on the CPU 1.25 times
/// faster; a trainer allocates the same sizes again and again.
#[cfg(target_env = "gnu")]
pub(super) fn keep_freed_memory() {
    // SAFETY: `mallopt` may be called at any time; a setting that it refuses changes nothing but the speed.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, c_int::MAX);
    }
}

/// Other C libraries have no such setting.
#[cfg(not(target_env = "gnu"))]
pub(super) fn keep_freed_memory() {}

/// Ends the process without running destructors: libtorch's would run while another thread uses it.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no precondition.
    unsafe { libc::_exit(code) }
}

/// Bytes that are copied to a device between two progress reports: a tenth of a second from a disk.
const COPIED_BYTES: u64 = 64 << 20;

/// The images of a packed data set as a tensor, without a copy: `[N, S, S, 3]` of bytes on the CPU. The tensor never
/// leaves this type, because it must not outlive the map or be written to.
#[derive(Debug)]
pub(super) struct MappedImages {
    tensor: Tensor,
    /// Keeps the map alive; dropped after the tensor.
    _owner: Arc<PackedDataset>,
}

impl MappedImages {
    /// # Errors
    /// A data set whose bytes are not `N·S·S·3`, or what libtorch says.
    pub(super) fn new(packed: Arc<PackedDataset>) -> Result<Self, TchError> {
        let bytes = packed.images();
        let side = packed.image_size() as usize;
        let shape = [packed.len(), side, side, 3];
        if shape.iter().product::<usize>() != bytes.len() {
            return Err(TchError::Shape(format!("{} bytes are not images of shape {shape:?}", bytes.len())));
        }
        let shape = shape.map(|extent| extent as i64);
        // SAFETY: the pointer is valid for as many bytes as the shape has, and stays so while `_owner` lives: a map
        // does not move with its handle. Everything below only reads.
        let tensor = unsafe { Tensor::f_from_blob(bytes.as_ptr(), &shape, &[], Kind::Uint8, Device::Cpu)? };
        Ok(Self { tensor, _owner: packed })
    }

    /// The images with these numbers, copied.
    pub(super) fn select(&self, indices: &Tensor) -> Result<Tensor, TchError> {
        self.tensor.f_index_select(0, indices)
    }

    /// A copy of all images on `device`. `goes_on` receives the bytes copied and their total, and says whether to
    /// continue; what is not copied then has undefined content.
    pub(super) fn copy_to(
        &self,
        device: Device,
        goes_on: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Tensor, TchError> {
        let shape = self.tensor.size();
        let copy = Tensor::f_empty(&shape, (Kind::Uint8, device))?;
        let (images, bytes) = (shape[0], self.tensor.numel() as u64);
        let image_bytes = (bytes / images.unsigned_abs().max(1)).max(1);
        let part = (COPIED_BYTES / image_bytes).max(1) as i64;
        let mut start = 0;
        while start < images {
            let count = part.min(images - start);
            copy.f_narrow(0, start, count)?.f_copy_(&self.tensor.f_narrow(0, start, count)?)?;
            start += count;
            if !goes_on(start.unsigned_abs() * image_bytes, bytes) {
                break;
            }
        }
        Ok(copy)
    }
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod layers_tests;
