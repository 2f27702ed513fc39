//! `sweep quota`: how many slots each owner of sweeps may hold, and how large their shares are.

use proto::v1;
use terminal::output::say;

use super::{
    client::Target,
    failure::Failure,
    output::{Cell, Format, Printer, print},
    tables::names,
};
use crate::api::{QUOTA_SLOTS_MAX, WEIGHT_MAX};

/// What `sweep quota` does.
#[derive(Debug, clap::Subcommand)]
pub(super) enum QuotaCommand {
    /// Say how many slots an owner's jobs hold at most, or how large the owner's share is
    Set(SetArguments),
    /// List the quotas, with the slots that each owner's jobs hold
    List,
    /// Lift an owner's quota: no limit, and an equal share
    Remove {
        /// Whose: the name of a token
        #[arg(value_name = "OWNER")]
        owner: String,
    },
}

/// Arguments of `sweep quota set`.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true).multiple(true).args(["slots", "weight"]),
    after_long_help = "A free slot goes to the owner whose jobs hold the fewest slots for the weight of their share, of those \
who have jobs waiting and room in their quota. Among the sweeps of one owner, execution.priority decides. Running jobs are never ended for \
others."
)]
pub(super) struct SetArguments {
    /// Whose: the name of a token
    #[arg(value_name = "OWNER")]
    owner: String,
    /// Most slots that the owner's jobs hold at once; 0 for none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(QUOTA_SLOTS_MAX)))]
    slots: Option<u32>,
    /// How large the owner's share is: one of weight 2 gets twice the slots of one of weight 1 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(WEIGHT_MAX)))]
    weight: Option<u32>,
}

/// `sweep quota`.
pub(super) async fn quota(command: &QuotaCommand, target: &Target, format: Format) -> Result<(), Failure> {
    let mut client = target.connect_for_access().await?;
    let quotas = match command {
        QuotaCommand::Set(SetArguments { owner, slots, weight }) => {
            let request = v1::SetQuotaRequest { owner: owner.clone(), slots: *slots, weight: *weight };
            let quota = target.in_time(client.set_quota(request)).await?.into_inner();
            if quota.owner_unknown {
                say(&format!(
                    "note: no token and no sweep is of {owner:?} yet; the quota holds as soon as one is"
                ));
            }
            vec![quota]
        }
        QuotaCommand::List => {
            target.in_time(client.list_quotas(v1::ListQuotasRequest {})).await?.into_inner().quotas
        }
        QuotaCommand::Remove { owner } => {
            let request = v1::RemoveQuotaRequest { owner: owner.clone() };
            let lifted = target.in_time(client.remove_quota(request)).await?.into_inner();
            if format == Format::Table {
                return print(&format!(
                    "the quota of {owner} is removed: no limit of slots, and an equal share (weight {})\n",
                    lifted.weight
                ));
            }
            vec![lifted]
        }
    };
    let mut printer = Printer::new(format, names(&COLUMNS));
    printer.page(&quotas.iter().map(row).collect::<Vec<_>>())?;
    printer.finish()
}

const COLUMNS: [&str; 6] = ["owner", "slots", "weight", "held", "set", "set_by"];

fn row(quota: &v1::Quota) -> Vec<Cell> {
    vec![
        Cell::Text(quota.owner.clone()),
        quota.slots.map_or(Cell::Empty, |slots| Cell::Integer(slots.into())),
        Cell::Integer(quota.weight.into()),
        Cell::Integer(quota.slots_held),
        Cell::Time(quota.set_unix_ms),
        Cell::Text(quota.set_by.clone()),
    ]
}
