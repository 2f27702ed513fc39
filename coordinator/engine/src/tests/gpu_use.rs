//! What workers say of their GPUs is shown as it was last heard, and is nothing else.

use terms::GpuUse;

use super::{cluster::Cluster, room::hello};
use crate::{Event, SessionId, query::ListWorkers};

fn gpu(device: &str, percent: u8) -> GpuUse {
    GpuUse {
        device: device.to_owned(),
        name: "H200".to_owned(),
        utilization_percent: Some(percent),
        memory_used_bytes: 1,
        memory_total_bytes: 2,
    }
}

fn beat(cluster: &mut Cluster, gpus: Vec<GpuUse>) {
    cluster.hear(Event::Heartbeat { session: SessionId(1), running: Vec::new(), gpus });
}

fn shown(cluster: &Cluster) -> Vec<GpuUse> {
    cluster.ask(&ListWorkers { after: None, limit: 9 }).workers[0].gpus.clone()
}

#[test]
fn the_use_of_gpus_is_what_the_last_heartbeat_said_and_goes_with_the_stream() {
    let mut cluster = Cluster::new();
    let mut hello = hello("one", 3, "H200");
    for (slot, device) in hello.slots.iter_mut().zip(["cuda:0", "cuda:0", "cuda:1"]) {
        slot.device = device.to_owned();
    }
    cluster.hear(Event::SessionOpened { session: SessionId(1), hello });
    assert_eq!(shown(&cluster), []);
    beat(&mut cluster, vec![gpu("cuda:0", 40), gpu("cuda:1", 50)]);
    assert_eq!(shown(&cluster), [gpu("cuda:0", 40), gpu("cuda:1", 50)]);
    // No more than there are, and none of others.
    let mut many = vec![gpu("cuda:1", 7); 1_000];
    many.push(gpu("cuda:5", 9));
    beat(&mut cluster, many);
    assert_eq!(shown(&cluster), [gpu("cuda:1", 7)]);
    beat(&mut cluster, Vec::new());
    assert_eq!(shown(&cluster), [], "it is not known any more");
    beat(&mut cluster, vec![gpu("cuda:0", 1)]);
    cluster.hear(Event::SessionClosed(SessionId(1)));
    assert_eq!(shown(&cluster), []);
}
