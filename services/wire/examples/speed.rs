//! x
#![allow(clippy::all, clippy::pedantic, clippy::disallowed_types, missing_docs, clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]
use std::time::Instant;
use fiorino_wire::*;
fn t(name:&str,n:u32,f:impl Fn()){let s=Instant::now();for _ in 0..n{f()}println!("{name} {:?}",s.elapsed()/n)}
fn main(){
 let d=std::env::args().nth(1).unwrap();
 for f in ["paVerifyPaymentNotice.req.xml","paGetPaymentV2.req.xml","paSendRTV2.req.xml"]{
  let b=std::fs::read(format!("{d}/{f}")).unwrap(); let l=Limits::default();
  t(f,20000,||{read(&b,&l).unwrap();});
 }
 let l=Limits::default();
 let rt=std::fs::read_to_string(format!("{d}/paSendRTV2.req.xml")).unwrap();
 let attrs:String=(0..200_000).map(|i|format!(" a{i}=''")).collect();
 let h=rt.replace("<receiptId>",&format!("<receiptId{attrs}>"));
 t("attrs",1,||println!("{} {:?}",h.len(),read(h.as_bytes(),&l).map(|_|())));
 let ns:String=(0..200_000).map(|i|format!(" xmlns:a{i}='u'")).collect();
 let h=rt.replace("<receiptId>",&format!("<receiptId{ns}>"));
 t("ns",1,||println!("{} {:?}",h.len(),read(h.as_bytes(),&l).map(|_|())));
 let h=rt.replace("<receiptId>",&format!("{}<receiptId>","<a/>".repeat(1_000_000)));
 t("elements",1,||println!("{} {:?}",h.len(),read(h.as_bytes(),&l).map(|_|())));
 let h=rt.replace("<description>",&format!("<description>{}","&amp;".repeat(800_000)));
 t("refs",1,||println!("{} {:?}",h.len(),read(h.as_bytes(),&l).map(|_|())));
 let h=rt.replace("<description>",&format!("<description>{}","<![CDATA[x]]>".repeat(300_000)));
 t("cdata",1,||println!("{} {:?}",h.len(),read(h.as_bytes(),&l).map(|_|())));
 let h=rt.replace("<description>",&format!("<description>{}","<a:b/>".repeat(600_000))).replace("<receiptId>","<receiptId xmlns:q='u'>");
 t("undeclared",1,||println!("{} {:?}",h.len(),read(h.as_bytes(),&l).map(|_|())));
}
