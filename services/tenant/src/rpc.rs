//! Who may call what: the one list for every service of this process.

use fiorino_kit::rpc::Allow;

const OPERATOR: &[&str] = &["operator"];
const CONNECTOR: &[&str] = &["node-connector"];
const FRONT_OFFICE: &[&str] = &["front-office"];
const DEV: &[&str] = &["dev"];
const RESTORE: &[&str] = &["restore"];

macro_rules! allow {
    ($($method:literal => $callers:expr),* $(,)?) => { &[$(Allow { method: $method, callers: $callers }),*] };
}

/// Methods of tenant and their callers (ARCHITECTURE.md 6.2). What is not listed is refused.
pub static ALLOWED: &[Allow] = allow! {
    "/fiorino.cases.v1.Cases/AssignCase" => DEV,
    "/fiorino.cases.v1.Cases/GetCase" => DEV,
    "/fiorino.cases.v1.Cases/ListCases" => DEV,
    "/fiorino.cases.v1.Cases/NoteCase" => DEV,
    "/fiorino.cases.v1.Cases/ResolveCase" => DEV,
    "/fiorino.cases.v1.Cases/ResolveCases" => DEV,
    "/fiorino.config.v1.ConfigApply/AcquireFence" => OPERATOR,
    "/fiorino.config.v1.ConfigApply/ApplyBundle" => OPERATOR,
    "/fiorino.config.v1.ConfigApply/Complete" => OPERATOR,
    "/fiorino.config.v1.ConfigApply/MarkUnmanaged" => OPERATOR,
    "/fiorino.config.v1.ConfigApply/WatchChanges" => OPERATOR,
    "/fiorino.config.v1.ConfigRead/GetInstitution" => &["operator", "dev"],
    "/fiorino.config.v1.ConfigRead/ListInstitutions" => &["operator", "dev"],
    "/fiorino.config.v1.ConfigRead/ResolveAddressee" => &["operator", "node-connector", "dev"],
    "/fiorino.config.v1.ConfigReadback/RecordReadback" => CONNECTOR,
    "/fiorino.config.v1.ConfigStream/Stream" => &["node-connector", "reporting", "front-office"],
    "/fiorino.notices.v1.Display/ShowNotice" => FRONT_OFFICE,
    "/fiorino.notices.v1.Notices/ActivateMany" => CONNECTOR,
    "/fiorino.notices.v1.Notices/VerifyMany" => CONNECTOR,
    "/fiorino.payments.v1.PaymentsAgain/SendAgain" => &["dev", "restore"],
    "/fiorino.positions.v1.Positions/CancelPosition" => DEV,
    "/fiorino.positions.v1.Positions/CreatePosition" => DEV,
    "/fiorino.positions.v1.Positions/CreatePositions" => DEV,
    "/fiorino.positions.v1.Positions/GetPosition" => DEV,
    "/fiorino.positions.v1.Positions/ListPositions" => DEV,
    "/fiorino.positions.v1.Positions/PublishPosition" => DEV,
    "/fiorino.positions.v1.Positions/UpdateInstalment" => DEV,
    "/fiorino.receipts.v1.Receipts/ApplyReceipts" => CONNECTOR,
    "/fiorino.restore.v1.Blocks/Follow" => CONNECTOR,
    "/fiorino.restore.v1.Restore/Finish" => RESTORE,
    "/fiorino.restore.v1.Restore/GetState" => RESTORE,
    "/fiorino.restore.v1.Restore/Observe" => RESTORE,
};
