//! TLS and HTTP versions, and the three ways in which an image travels.

use testkit::{Http, Image, Person, Target};

#[tokio::test]
async fn http_1_1_and_http_2_are_both_spoken() {
    for (http, version) in [(Http::One, "HTTP/1.1"), (Http::Two, "HTTP/2.0"), (Http::Any, "HTTP/2.0")] {
        let answer = Target::shared().client_over(http).get("/livez").await.expect(200);
        assert_eq!(format!("{:?}", answer.version), version);
    }
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let client = Target::shared().client_over(Http::OverTls12);
    let error = client.try_send(client.request("GET", "/livez")).await.expect_err("TLS 1.3 is the lowest");
    assert!(error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn plain_http_gets_no_answer_from_the_api() {
    let url = format!("{}/livez", Target::shared().origin().replace("https://", "http://"));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = client.get(url).send().await;
    // A proxy before it may say that it wants TLS.
    let proxied = Target::shared().process().is_none() && answer.as_ref().is_ok_and(|a| a.status() == 400);
    assert!(answer.is_err() || proxied, "{answer:?}");
}

#[tokio::test]
async fn an_image_gives_the_same_faces_however_it_travels() {
    let client = crate::caller();
    let raw = client.post_image("/v1/detect", Person::Obama.photo(), Image::Raw).await.ok();
    assert_eq!(raw["items"][0]["faces"].as_array().map(Vec::len), Some(1), "{raw}");
    for how in [Image::Form, Image::Json] {
        let other = client.post_image("/v1/detect", Person::Obama.photo(), how).await.ok();
        assert_eq!(other["items"], raw["items"], "{how:?}");
    }
}
