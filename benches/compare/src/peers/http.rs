//! nginx on host b, and curl; the set-up of nginx for other clients of HTTP.

use std::path::Path;
use std::process::Command;

use super::{ENCRYPTED, Guards, Job, PLAIN, Peer, Program, Serving, What, packaged};
use crate::content;
use crate::failure::{Doing, Failure, Outcome};
use crate::line::Line;

pub(super) const NGINX: Program = packaged("nginx", "nginx-light");
const CURL: Program = packaged("curl", "curl");
pub(super) const OPENSSL: Program = packaged("openssl", "openssl");

/// curl over HTTP, and over HTTPS with HTTP/1.1 and HTTP/2.
pub(super) fn all() -> Vec<Box<dyn Peer>> {
    vec![Box::new(Curl::Http), Box::new(Curl::Https), Box::new(Curl::Https2)]
}

#[derive(PartialEq)]
enum Curl {
    Http,
    Https,
    Https2,
}

/// nginx that serves the directory of the source at `job`'s first port, with TLS at the second.
pub(super) fn nginx(job: &Job<'_>) -> Outcome<Serving> {
    let (key, certificate) = certificate(&job.dir, "b")?;
    let dir = job.dir.display();
    let (node, port, tls_port, root) = (job.node, job.port, job.port + 1, job.source_dir().display());
    let config = format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {dir}/nginx.pid;\nerror_log {dir}/nginx.log;\n\
         events {{ worker_connections 1024; }}\nhttp {{\naccess_log off;\nsendfile on;\ntcp_nopush on;\n\
         output_buffers 2 1m;\nsendfile_max_chunk 0;\nkeepalive_requests 1000000;\nautoindex on;\n\
         client_body_temp_path {dir}/body;\nproxy_temp_path {dir}/proxy;\nfastcgi_temp_path {dir}/fastcgi;\n\
         uwsgi_temp_path {dir}/uwsgi;\nscgi_temp_path {dir}/scgi;\nopen_file_cache max=20000;\n\
         server {{\nlisten {node}:{port};\nlisten {node}:{tls_port} ssl http2;\nroot {root};\n\
         http2_max_concurrent_streams 256;\nhttp2_chunk_size 64k;\nssl_buffer_size 16k;\n\
         ssl_certificate {};\nssl_certificate_key {};\nssl_protocols TLSv1.3;\n\
         ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;\n}}\n}}\n",
        certificate.display(),
        key.display()
    );
    let config = job.write("nginx.conf", &config)?;
    Ok(Serving::tcp(job.port, Line::new("/usr/sbin/nginx").arg("-c").path(&config)))
}

/// Makes a key and a certificate for `name` that it signs itself.
pub(super) fn certificate(dir: &Path, name: &str) -> Outcome<(std::path::PathBuf, std::path::PathBuf)> {
    let (key, certificate) = (dir.join(format!("{name}.key")), dir.join(format!("{name}.pem")));
    let subject = format!("/CN={name}");
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", &subject, "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .doing("start openssl")?;
    if output.status.success() {
        return Ok((key, certificate));
    }
    let cause = crate::process::last_words(&String::from_utf8_lossy(&output.stderr));
    Err(Failure::new(format!("openssl made no certificate: {cause}")))
}

/// Where HTTP clients find the source.
pub(super) fn url(job: &Job<'_>, encrypted: bool) -> String {
    let (scheme, port) = if encrypted { ("https", job.port + 1) } else { ("http", job.port) };
    format!("{scheme}://{}:{port}/{}", job.node, job.name())
}

impl Peer for Curl {
    fn name(&self) -> &str {
        match self {
            Curl::Http => "curl, nginx",
            Curl::Https => "curl https/1.1, nginx",
            Curl::Https2 => "curl https/2, nginx",
        }
    }

    fn tree_name(&self) -> &str {
        match self {
            Curl::Http => "curl -Z, nginx",
            Curl::Https => "curl -Z https/1.1, nginx",
            Curl::Https2 => "curl -Z https/2, nginx",
        }
    }

    fn guards(&self) -> Guards {
        if *self == Curl::Http { PLAIN } else { ENCRYPTED }
    }

    fn needs(&self) -> &[Program] {
        &[NGINX, CURL, OPENSSL]
    }

    fn takes(&self, _: What) -> bool {
        true
    }

    fn serve(&self, job: &Job<'_>) -> Outcome<Vec<Serving>> {
        if job.what == What::Tree {
            // Every file is named in a list that is made before the clock starts.
            let base = url(job, *self != Curl::Http);
            let mut list = String::new();
            for name in content::files(job.source)? {
                let (name, target) = (name.display(), job.target.join(&name));
                list += &format!("url = \"{base}/{name}\"\noutput = \"{}\"\n", target.display());
            }
            job.write("list", &list)?;
        }
        Ok(vec![nginx(job)?])
    }

    fn copy(&self, job: &Job<'_>, _: &[String]) -> Outcome<Line> {
        let line = Line::new("curl").args("-sSf");
        let line = match self {
            Curl::Http => line,
            Curl::Https => line.args("-k --http1.1"),
            Curl::Https2 => line.args("-k --http2"),
        };
        Ok(match job.what {
            What::File => line.arg("-o").path(&job.target).arg(url(job, *self != Curl::Http)),
            What::Tree => {
                let line = line.args("-Z --parallel-immediate --parallel-max 50 --create-dirs -K");
                line.path(&job.dir.join("list"))
            }
        })
    }
}
