//! What the description of the JSON API says of shapes and their types do not: a number may be a text, a sweep brings keys of its own, and
//! the answer about one thing has more keys than that of a list. Those are of several parts, which the description puts together.

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr,
        schema::{
            AdditionalProperties, AllOfBuilder, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema,
            SchemaType, Type,
        },
    },
};

use super::{Attempt, Epoch, Job, JobTimes, Number, Sweep, SweepDetails, own::Own};

/// Parts of a schema: a name, and what it stands for.
type Schemas = Vec<(String, RefOr<Schema>)>;

/// A sweep with all that is known of it.
#[derive(Debug, Clone, Copy)]
pub struct ShownSweep;

/// A job with its attempts and epochs.
#[derive(Debug, Clone, Copy)]
pub struct ShownJob;

/// A job in an export: with its times and its epochs.
#[derive(Debug, Clone, Copy)]
pub struct ExportedJob;

impl PartialSchema for Number {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(SchemaType::new(Type::Number));
        let other = text().enum_values(Some(["nan", "inf", "-inf"]));
        let none = ObjectBuilder::new().schema_type(SchemaType::new(Type::Null));
        let all = OneOfBuilder::new().item(number).item(other).item(none);
        all.description(Some("A measurement that may be absent; what JSON has no numbers for is a text."))
            .into()
    }
}

impl ToSchema for Number {}

impl PartialSchema for Own {
    fn schema() -> RefOr<Schema> {
        object().additional_properties(Some(value())).into()
    }
}

impl ToSchema for Own {}

impl PartialSchema for ShownSweep {
    fn schema() -> RefOr<Schema> {
        AllOfBuilder::new().item(Sweep::schema()).item(SweepDetails::schema()).into()
    }
}

impl ToSchema for ShownSweep {
    fn schemas(schemas: &mut Schemas) {
        Sweep::schemas(schemas);
        SweepDetails::schemas(schemas);
    }
}

impl PartialSchema for ShownJob {
    fn schema() -> RefOr<Schema> {
        let more = epochs().property("attempts", array("Attempt")).property("proposal", text());
        AllOfBuilder::new().item(Job::schema()).item(more).into()
    }
}

impl ToSchema for ShownJob {
    fn schemas(schemas: &mut Schemas) {
        of_job(schemas);
        schemas.push((Attempt::name().into(), Attempt::schema()));
        Attempt::schemas(schemas);
    }
}

impl PartialSchema for ExportedJob {
    fn schema() -> RefOr<Schema> {
        AllOfBuilder::new().item(Job::schema()).item(JobTimes::schema()).item(epochs()).into()
    }
}

impl ToSchema for ExportedJob {
    fn schemas(schemas: &mut Schemas) {
        of_job(schemas);
    }
}

fn of_job(schemas: &mut Schemas) {
    Job::schemas(schemas);
    schemas.push((Epoch::name().into(), Epoch::schema()));
    Epoch::schemas(schemas);
}

fn epochs() -> ObjectBuilder {
    object().property("epochs", array("Epoch"))
}

/// Of what this shape does not have.
pub(super) fn nothing() -> ObjectBuilder {
    object()
}

/// Parameters by name.
pub(super) fn parameters() -> ObjectBuilder {
    object().additional_properties(Some(value()))
}

pub(crate) fn parameters_or_null() -> ObjectBuilder {
    parameters().schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
}

/// Of files or folders of a data set that are not used.
pub(super) fn left_out() -> ArrayBuilder {
    let whole = ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)).minimum(Some(0));
    let one = object()
        .property("reason", text())
        .property("detail", text())
        .property("count", whole)
        .property("examples", ArrayBuilder::new().items(text()));
    ArrayBuilder::new().items(one)
}

/// A parameter's value, or a metric: anything.
fn value() -> AdditionalProperties<Schema> {
    AdditionalProperties::FreeForm(true)
}

fn object() -> ObjectBuilder {
    ObjectBuilder::new()
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::new(Type::String))
}

fn array(name: &str) -> ArrayBuilder {
    ArrayBuilder::new().items(Ref::from_schema_name(name))
}
