//! An HTTP/2 client.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::stand::bounded;

pub(crate) struct Wire2 {
    pub(crate) sender: SendRequest<Bytes>,
    /// The connection; its result is why it ended.
    pub(crate) connection: JoinHandle<Result<(), h2::Error>>,
}

#[derive(Debug)]
pub(crate) struct Answer2 {
    pub(crate) head: http::response::Parts,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: HeaderMap,
}

impl Answer2 {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Wire2 {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), &Builder::new()).await
    }

    pub(crate) async fn over<S>(stream: S, builder: &Builder) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = bounded("a handshake", builder.handshake(stream)).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    /// Begins a request; its body is sent by the caller.
    pub(crate) async fn begin(
        &mut self,
        request: Request<()>,
        ended: bool,
    ) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        let mut sender = bounded("room for a stream", self.sender.clone().ready()).await.unwrap();
        sender.send_request(request, ended).unwrap()
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer2 {
        let (answer, _) = self.begin(get2(path), true).await;
        whole(answer).await.unwrap()
    }

    pub(crate) async fn post(&mut self, request: Request<()>, body: &'static [u8]) -> Answer2 {
        let (answer, mut stream) = self.begin(request, false).await;
        stream.send_data(Bytes::from_static(body), true).unwrap();
        whole(answer).await.unwrap()
    }
}

pub(crate) fn get2(path: &str) -> Request<()> {
    Request::get(format!("http://a.example{path}")).body(()).unwrap()
}

pub(crate) fn post2(path: &str) -> http::request::Builder {
    Request::post(format!("http://a.example{path}"))
}

/// Reads an answer to its end.
pub(crate) async fn whole(answer: h2::client::ResponseFuture) -> Result<Answer2, h2::Error> {
    bounded("an answer", async {
        let (head, mut stream) = Response::into_parts(answer.await?);
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        let trailers = stream.trailers().await?.unwrap_or_default();
        Ok(Answer2 { head, body, trailers })
    })
    .await
}
