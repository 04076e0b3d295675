//! A real Tryton as the provider: people are hired, renamed and deleted by its own RPC.

use anyhow::Context;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{env, http};

/// Tryton, as `ops/local/tryton up` starts it.
pub struct Tryton {
    name: String,
    url: String,
    http: reqwest::Client,
}

impl Tryton {
    /// Starts an instance of a test's own, with a company in it. `tests/run` stops it.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn of_its_own(name: &str) -> anyhow::Result<Self> {
        let up = ["up", "--name", name, "--port", "auto", "--fresh"];
        let output = Command::new(env("TRIBUTARY_TEST_TRYTON_LAUNCHER")).args(up).output().await?;
        let printed = String::from_utf8(output.stdout)?;
        let url = printed.trim().split_once('=').context("TRIBUTARY_TRYTON=…")?.1.to_owned();
        let tryton = Self { name: name.to_owned(), url, http: http()? };
        let rounding = json!({"__class__": "Decimal", "decimal": "0.01"});
        let euro =
            json!([[{"name": "Euro", "code": "EUR", "symbol": "E", "digits": 2, "rounding": rounding}], {}]);
        let euro = tryton.call("model.currency.currency.create", euro).await?;
        let party = tryton.call("model.party.party.create", json!([[{"name": "Acme GmbH"}], {}])).await?;
        let company = json!([[{"party": party[0], "currency": euro[0]}], {}]);
        tryton.call("model.company.company.create", company).await?;
        Ok(tryton)
    }

    /// The set-up of an account that links to it.
    pub fn setup(&self) -> Value {
        json!({"base_url": self.url, "database": "hris", "login": "admin", "password": "admin-pw"})
    }

    async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let body = json!({"id": 1, "method": method, "params": params});
        let request = self.http.post(format!("{}/hris/rpc/", self.url)).basic_auth("admin", Some("admin-pw"));
        let answer: Value = request.json(&body).send().await?.json().await?;
        answer.get("result").cloned().with_context(|| format!("{method}: {answer}"))
    }

    /// Hires somebody; gives the ids of employee and party.
    ///
    /// # Errors
    /// When Tryton refuses.
    pub async fn hire(&self, name: &str, email: &str) -> anyhow::Result<(u64, u64)> {
        let mechanisms = json!([["create", [{"type": "email", "value": email}]]]);
        let party = json!([[{"name": name, "contact_mechanisms": mechanisms}], {}]);
        let party =
            self.call("model.party.party.create", party).await?[0].as_u64().context("a party's id")?;
        let start = json!({"__class__": "date", "year": 2024, "month": 3, "day": 1});
        let employee = json!([[{"party": party, "company": 1, "start_date": start}], {}]);
        let employee = self.call("model.company.employee.create", employee).await?;
        Ok((employee[0].as_u64().context("an employee's id")?, party))
    }

    /// Renames a party: the employee's own timestamp does not move.
    ///
    /// # Errors
    /// When Tryton refuses.
    pub async fn rename(&self, party: u64, name: &str) -> anyhow::Result<()> {
        self.call("model.party.party.write", json!([[party], {"name": name}, {}])).await.map(drop)
    }

    /// Attaches a file to a party.
    ///
    /// # Errors
    /// When Tryton refuses.
    pub async fn attach(&self, party: u64, name: &str) -> anyhow::Result<()> {
        let data = json!({"__class__": "bytes", "base64": "aGVsbG8gY29udHJhY3Q="});
        let file = json!([[{"name": name, "resource": format!("party.party,{party}"), "type": "data", "data": data}], {}]);
        self.call("model.ir.attachment.create", file).await.map(drop)
    }

    /// Deletes an employee's row.
    ///
    /// # Errors
    /// When Tryton refuses.
    pub async fn delete(&self, employee: u64) -> anyhow::Result<()> {
        self.call("model.company.employee.delete", json!([[employee], {}])).await.map(drop)
    }

    /// Lets an end date pass: no timestamp moves, as when a day goes by.
    ///
    /// # Errors
    /// When the database can't be written.
    pub async fn let_end_date_pass(&self, employee: u64) -> anyhow::Result<()> {
        let file = format!("{}/{}/data/hris.sqlite", env("TRIBUTARY_LOCAL"), self.name);
        let code = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1], timeout=30); \
                    c.execute('update company_employee set end_date=? where id=?', ('2024-12-31', sys.argv[2])); c.commit()";
        let status = Command::new(env("TRIBUTARY_TEST_PYTHON"))
            .args(["-c", code, &file, &employee.to_string()])
            .status()
            .await?;
        anyhow::ensure!(status.success(), "writing {file}: {status}");
        Ok(())
    }
}
