//! A worker with the official Rust SDK; it takes orders on stdin, one JSON object a line.

use std::collections::HashMap;
use std::env;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resonate_sdk::prelude::*;
use resonate_sdk::types::Value as Data;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

const FIVE_MINUTES: Duration = Duration::from_secs(300);

#[resonate_sdk::function]
async fn ask(ctx: &Context) -> Result<Value> {
    ctx.promise::<Value>().await
}

#[resonate_sdk::function]
async fn ask_people(ctx: &Context, task: Value) -> Result<Value> {
    let data = json!({ "human_task": task });
    ctx.promise::<Value>().data(&data)?.await
}

async fn carry_out(resonate: &Resonate, order: &Value) -> Result<Value> {
    let id = order["id"].as_str().unwrap_or_default();
    match (order["do"].as_str(), order["func"].as_str()) {
        (Some("run"), Some("ask")) => resonate.run(id, ask, ()).timeout(FIVE_MINUTES).await,
        (Some("run"), Some("ask_people")) => {
            let task = order["args"][0].clone();
            resonate
                .run(id, ask_people, task)
                .timeout(FIVE_MINUTES)
                .await
        }
        (Some("create"), _) => {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            let ends = (now + FIVE_MINUTES).as_millis() as i64;
            let tags: HashMap<String, String> = serde_json::from_value(order["tags"].clone())?;
            resonate
                .promises
                .create(id, ends, Data::default(), tags)
                .await?;
            resonate.get::<Value>(id).await?.result().await
        }
        _ => Err(Error::Application {
            message: format!("unknown order: {order}"),
        }),
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let resonate = Arc::new(Resonate::new(ResonateConfig {
        url: Some(arguments[0].clone()),
        group: Some(arguments[1].clone()),
        ttl: Some(4000),
        ..Default::default()
    }));
    resonate.register(ask)?;
    resonate.register(ask_people)?;
    println!("{}", json!({ "ready": true }));
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let order: Value = serde_json::from_str(&line)?;
        let resonate = Arc::clone(&resonate);
        tokio::spawn(async move {
            let n = &order["n"];
            let said = match carry_out(&resonate, &order).await {
                Ok(result) => json!({ "n": n, "result": result }),
                Err(error) => json!({ "n": n, "error": error.to_string() }),
            };
            println!("{said}");
        });
    }
    resonate.stop().await
}
