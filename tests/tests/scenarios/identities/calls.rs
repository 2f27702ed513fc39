//! Every method of every service, called as every role over a socket: it answers as the table says.

use std::collections::BTreeSet;

use coordinator::access::table;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use terms::{Role, VariantArray};
use tonic::{
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};

use super::*;

/// Every method of these services, as it is called.
fn methods() -> BTreeSet<String> {
    let sets = [
        proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    ];
    let files = sets.into_iter().flat_map(|set| FileDescriptorSet::decode(set).unwrap().file);
    let of_file = |file: prost_types::FileDescriptorProto| {
        let package = file.package.clone().unwrap_or_default();
        file.service.into_iter().flat_map(move |service| {
            let service_name = format!("/{package}.{}", service.name.unwrap_or_default());
            let name = move |method: prost_types::MethodDescriptorProto| {
                format!("{service_name}/{}", method.name.unwrap_or_default())
            };
            service.method.into_iter().map(name)
        })
    };
    files.flat_map(of_file).collect()
}

/// What the coordinator says to a message without content; nothing where it answers.
async fn said(channel: &Channel, path: &str, token: Option<&str>) -> Option<Code> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut request = match token {
        Some(token) => with_token((), token),
        None => Request::new(()),
    };
    request.set_timeout(tests::PATIENCE);
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let answer = grpc.server_streaming(request, path.parse::<PathAndQuery>().unwrap(), codec).await;
    match answer {
        Err(status) => Some(status.code()),
        Ok(answer) => answer.into_inner().message().await.err().map(|status| status.code()),
    }
}

#[test]
fn each_method_is_in_the_table_and_the_table_has_no_other() {
    let in_table: BTreeSet<String> = table::CALLS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(methods(), in_table);
}

#[tokio::test]
async fn each_method_is_for_those_of_the_table_and_for_no_one_else() {
    let (cluster, folder, admin) = guarded(&[]);
    let mut callers: Vec<(Option<Role>, Option<String>)> = vec![(None, None), (None, Some("a.b".to_owned()))];
    for role in Role::VARIANTS {
        let (token, _) =
            create(&cluster, (folder.path(), &admin), role.as_str(), &format!("a-{}", role.as_str()));
        callers.push((Some(*role), Some(token)));
    }
    let address = format!("http://{}", cluster.coordinator.address);
    for path in methods() {
        // A connection for each, as some calls end theirs.
        let channel = Endpoint::from_shared(address.clone()).unwrap().connect().await.unwrap();
        for (role, token) in &callers {
            let code = said(&channel, &path, token.as_deref()).await;
            let is_in = !matches!(code, Some(Code::Unauthenticated | Code::PermissionDenied));
            assert_eq!(is_in, table::call(&path).has(*role), "{path} {role:?}: {code:?}");
            if role.is_none() && !is_in {
                assert_eq!(code, Some(Code::Unauthenticated), "{path}");
            }
        }
    }
}
